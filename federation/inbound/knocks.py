"""Server-Server API, "Knocking upon a room": other servers' users ask to be let in."""

import orjson
from attrs import frozen

from federation.resident import ResidentRooms
from federation.submissions import Expected, Submissions
from federation.templates import Asked, Templates
from homeserver.core.errors import missing_param
from homeserver.core.membership import KNOCK
from homeserver.services.introductions import Introductions
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result


@frozen
class KnocksApi:
    """make_knock and send_knock."""

    rooms: ResidentRooms
    templates: Templates
    submissions: Submissions
    introductions: Introductions

    def endpoints(self) -> list[Endpoint]:
        prefix = "/_matrix/federation/v1"
        return [
            Endpoint("GET", f"{prefix}/make_knock/{{roomId}}/{{userId}}", self.make, auth=Auth.SERVER),
            Endpoint("PUT", f"{prefix}/send_knock/{{roomId}}/{{eventId}}", self.send, auth=Auth.SERVER),
        ]

    async def make(self, call: Call) -> Result:
        versions = call.query.strings("ver")
        if not versions:
            raise missing_param("ver")
        return await self.templates.of(
            Asked(call.origin, call.path["roomId"], call.path["userId"], KNOCK, versions)
        )

    async def send(self, call: Call) -> Result:
        room = await self.rooms.room(call.path["roomId"], call.origin)
        expected = Expected(call.origin, room.room_id, call.path["eventId"], KNOCK)
        await self.submissions.accept(await self.submissions.checked(call.body, room.version, expected))
        state = await self.introductions.pdus(room)
        return {"knock_room_state": [orjson.Fragment(pdu) for pdu in state]}
