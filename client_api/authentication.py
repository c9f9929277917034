"""From an access token to the requester, for the gate in front of all endpoints."""

from attrs import frozen

from homeserver.core.errors import MatrixError
from homeserver.services.access_tokens import AccessTokens, Session
from homeserver.services.last_seen import LastSeen
from homeserver.web.call import Call
from homeserver.web.requester import Requester

# What a locked account may still ask for [cs "Account locking"].
_OPEN_TO_LOCKED = ("/logout", "/logout/all")


@frozen
class Authentication:
    """Called with the token of each request that has one."""

    access_tokens: AccessTokens
    last_seen: LastSeen

    async def __call__(self, token: str, call: Call) -> Requester:
        session = await self.access_tokens.find(token)
        if session.locked and not call.raw_target.partition("?")[0].endswith(_OPEN_TO_LOCKED):
            raise MatrixError(401, "M_USER_LOCKED", "This account has been locked", {"soft_logout": True})
        if session.device_nid is not None and self.last_seen.is_due(session.device_nid):
            self.last_seen.note(session.device_nid, call.client_ip, call.user_agent)
        return _requester(session)


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
