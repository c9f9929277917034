"""Client-Server API, "Presence"."""

from attrs import frozen

from homeserver.core.errors import forbidden, invalid_param
from homeserver.core.presence import STATES
from homeserver.services.now import now_ms
from homeserver.services.presence import Presences
from homeserver.services.sync_passing import presence_content
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result

MAX_STATUS = 4_096  # bytes: it is sent to everybody who shares a room


@frozen
class PresenceApi:
    """[cs "Presence"]"""

    presences: Presences

    def endpoints(self) -> list[Endpoint]:
        path = "/v3/presence/{userId}/status"
        return [Endpoint("GET", path, self.get), Endpoint("PUT", path, self.put, rate="other")]

    async def get(self, call: Call) -> Result:
        found = await self.presences.seen_by(call.requester.user_nid, call.path["userId"])
        return {"presence": "offline"} if found is None else presence_content(found, now_ms())

    async def put(self, call: Call) -> Result:
        if call.path["userId"] != call.requester.user_id:
            raise forbidden("You cannot set somebody else's presence")
        state = call.field("presence", str)
        if state not in STATES:
            raise invalid_param(f"presence must be one of: {', '.join(STATES)}")
        requester, status = call.requester, call.optional("status_msg", str)
        if status is not None and len(status.encode()) > MAX_STATUS:
            raise invalid_param(f"status_msg has at most {MAX_STATUS} bytes")
        await self.presences.put(requester.user_nid, state, status, device_nid=requester.device_nid)
        return {}
