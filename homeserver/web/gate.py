"""Who may pass: an endpoint's `auth` is held against what the request carries."""

from collections.abc import Awaitable, Callable

from attrs import frozen

from homeserver.core.errors import MatrixError, forbidden, unknown_token, user_suspended
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.requester import Requester

AuthenticateUser = Callable[[str, Call], Awaitable[Requester]]
AuthenticateServer = Callable[[Call], Awaitable[str]]
AuthenticateService = Callable[[str], Awaitable[Requester | None]]


@frozen
class Gate:
    """Fills in who asks, or refuses.

    `user` finds the account of an access token; `server` checks the signature of a federation request and gives
    the name of the server; `service` finds the user that an application service is itself. All raise MatrixError.
    """

    user: AuthenticateUser
    server: AuthenticateServer | None = None
    service: AuthenticateService | None = None

    async def admit(self, endpoint: Endpoint, call: Call) -> None:
        """Set `call.requester` or `call.origin` as the endpoint demands."""
        auth = endpoint.auth
        if auth is Auth.NONE:
            return
        if auth is Auth.SERVER:
            call.origin = await self._origin(call)
            return
        token = access_token(call)
        if auth is Auth.SERVICE_OR_NONE:
            await self._recognize(call, token)
            return
        if token is None:
            if auth is Auth.OPTIONAL:
                return
            raise MatrixError(401, "M_MISSING_TOKEN", "Missing access token")
        if not token.isascii():
            raise unknown_token("Unknown access token")  # none of ours, and not every use of it would bear it
        call.requester = requester = await self.user(token, call)
        _require_right(auth, requester)
        if requester.is_suspended and not endpoint.suspended:
            raise user_suspended()

    async def _recognize(self, call: Call, token: str | None) -> None:
        """Note which application service asks; any other token means nothing here."""
        if token is None or self.service is None or not token.isascii():
            return
        requester = await self.service(token)
        if requester is not None:
            call.requester = requester

    async def _origin(self, call: Call) -> str:
        if self.server is None:
            raise forbidden("This server does not federate")
        return await self.server(call)


def access_token(call: Call) -> str | None:
    """The token of the header, or of the deprecated query parameter [cs "Using access tokens"]."""
    header = call.header("Authorization")
    if header:
        scheme, _, token = header.partition(" ")
        return token.strip() or None if scheme.lower() == "bearer" else None
    return call.query.string("access_token", None) or None


def _require_right(auth: Auth, requester: Requester) -> None:
    if auth is Auth.USER and requester.is_guest:
        raise MatrixError(403, "M_GUEST_ACCESS_FORBIDDEN", "Guests cannot do this")
    if auth is Auth.ADMIN and not requester.is_admin:
        raise forbidden("Only administrators of this server can do this")
