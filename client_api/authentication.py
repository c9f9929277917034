"""From an access token to the requester, for the gate in front of all endpoints."""

from attrs import evolve, frozen

from homeserver.core.application_services import NO_SERVICES, ApplicationService, ApplicationServices
from homeserver.core.errors import MatrixError
from homeserver.services.access_tokens import AccessTokens, Session
from homeserver.services.last_seen import LastSeen
from homeserver.web.call import Call
from homeserver.web.requester import Requester

# What a locked account may still ask for [cs "Account locking"].
_OPEN_TO_LOCKED = ("/logout", "/logout/all")
# What else an application service's device was called before v1.17 [MSC4326] [MSC3202].
_UNSTABLE_DEVICE = ("org.matrix.msc4326.device_id", "org.matrix.msc3202.device_id")


@frozen
class Authentication:
    """Called with the token of each request that has one."""

    access_tokens: AccessTokens
    last_seen: LastSeen
    services: ApplicationServices = NO_SERVICES

    async def __call__(self, token: str, call: Call) -> Requester:
        service = self.services.of_token(token)
        if service is not None:
            return await self._acting(service, call)
        session = self._usable(await self.access_tokens.find(token), call)
        return _requester(session)

    async def service(self, token: str) -> Requester | None:
        """The application service as the user that it is itself, whose calls are never limited."""
        service = self.services.of_token(token)
        if service is None:
            return None
        session = await self.access_tokens.of_user(service.sender, None)
        return evolve(_requester(session), appservice=service.id, rate_limited=False)

    async def _acting(self, service: ApplicationService, call: Call) -> Requester:
        """As which user, and by which device, a service asks [as "Identity assertion"]."""
        user_id = call.query.string("user_id", None) or service.sender
        self.services.acted_for(service, user_id)
        names = ("device_id", *_UNSTABLE_DEVICE)
        device_id = next((value for name in names if (value := call.query.string(name, None))), None)
        session = self._usable(await self.access_tokens.of_user(user_id, device_id), call)
        limited = service.wants.rate_limited and user_id != service.sender  # [as "Registration"]
        return evolve(_requester(session), appservice=service.id, rate_limited=limited)

    def _usable(self, session: Session, call: Call) -> Session:
        if session.locked and not call.raw_target.partition("?")[0].endswith(_OPEN_TO_LOCKED):
            raise MatrixError(401, "M_USER_LOCKED", "This account has been locked", {"soft_logout": True})
        if session.device_nid is not None and self.last_seen.is_due(session.device_nid):
            self.last_seen.note(session.device_nid, call.client_ip, call.user_agent)
        return session


def _requester(session: Session) -> Requester:
    return Requester(
        user_id=session.user_id,
        user_nid=session.user_nid,
        device_id=session.device_id,
        device_nid=session.device_nid,
        is_guest=session.is_guest,
        is_admin=session.is_admin,
        is_suspended=session.suspended,
    )
