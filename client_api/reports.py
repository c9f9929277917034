"""Client-Server API, "Reporting Content"."""

from attrs import frozen

from client_api.visitor import visitor
from homeserver.services.reporting import MAX_REASON, Reporting
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result


@frozen
class ReportsApi:
    """[cs "Reporting Content"]"""

    reporting: Reporting

    def endpoints(self) -> list[Endpoint]:
        room = "/v3/rooms/{roomId}/report"
        users = ("/unstable/org.matrix.msc4260/users/{userId}/report",)
        rooms = ("/unstable/org.matrix.msc4151/rooms/{roomId}/report",)
        return [
            Endpoint("POST", f"{room}/{{eventId}}", self.event, rate="other"),
            Endpoint("POST", room, self.room, also=rooms, rate="other"),
            Endpoint("POST", "/v3/users/{userId}/report", self.user, also=users, rate="other"),
        ]

    async def event(self, call: Call) -> Result:
        call.optional("score", int)  # until v1.8; what it means was never said
        reason = call.optional("reason", str)
        kept = None if reason is None else reason[:MAX_REASON]
        await self.reporting.event(visitor(call), call.path["roomId"], call.path["eventId"], kept)
        return {}

    async def room(self, call: Call) -> Result:
        reason = call.field("reason", str)[:MAX_REASON]
        await self.reporting.room(visitor(call), call.path["roomId"], reason)
        return {}

    async def user(self, call: Call) -> Result:
        reason = call.field("reason", str)[:MAX_REASON]
        await self.reporting.user(visitor(call), call.path["userId"], reason)
        return {}
