"""Server-Server API, "Leaving Rooms (Rejecting Invites)": other servers' users leave, decline or take back a knock."""

from attrs import frozen

from federation.resident import ResidentRooms
from federation.submissions import Expected, Submissions
from federation.templates import Asked, Templates
from homeserver.core.membership import LEAVE
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result


@frozen
class LeavesApi:
    """make_leave and send_leave."""

    rooms: ResidentRooms
    templates: Templates
    submissions: Submissions

    def endpoints(self) -> list[Endpoint]:
        prefix, ids = "/_matrix/federation", "{roomId}/{eventId}"
        return [
            Endpoint("GET", f"{prefix}/v1/make_leave/{{roomId}}/{{userId}}", self.make, auth=Auth.SERVER),
            Endpoint("PUT", f"{prefix}/v1/send_leave/{ids}", self.send_v1, auth=Auth.SERVER),
            Endpoint("PUT", f"{prefix}/v2/send_leave/{ids}", self.send, auth=Auth.SERVER),
        ]

    async def make(self, call: Call) -> Result:
        return await self.templates.of(Asked(call.origin, call.path["roomId"], call.path["userId"], LEAVE))

    async def send(self, call: Call) -> Result:
        room = await self.rooms.room(call.path["roomId"], call.origin)
        expected = Expected(call.origin, room.room_id, call.path["eventId"], LEAVE)
        await self.submissions.accept(await self.submissions.checked(call.body, room.version, expected))
        return {}

    async def send_v1(self, call: Call) -> Result:
        return [200, await self.send(call)]
