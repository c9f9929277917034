"""Server-Server API, "Joining Rooms": other servers enter rooms through us."""

from collections.abc import AsyncIterator

from attrs import frozen

from federation.join_answers import JoinAnswers
from federation.resident import ResidentRooms
from federation.submissions import Expected, Submissions
from federation.templates import Asked, Templates
from homeserver.core.membership import JOIN
from homeserver.services.restricted_joins import RestrictedJoins
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Reply, Result
from storage.rooms import Room


@frozen
class JoinsApi:
    """make_join and send_join."""

    rooms: ResidentRooms
    templates: Templates
    restricted: RestrictedJoins
    submissions: Submissions
    answers: JoinAnswers

    def endpoints(self) -> list[Endpoint]:
        prefix, ids = "/_matrix/federation", "{roomId}/{eventId}"
        return [
            Endpoint("GET", f"{prefix}/v1/make_join/{{roomId}}/{{userId}}", self.make, auth=Auth.SERVER),
            Endpoint("PUT", f"{prefix}/v1/send_join/{ids}", self.send_v1, auth=Auth.SERVER),
            Endpoint("PUT", f"{prefix}/v2/send_join/{ids}", self.send, auth=Auth.SERVER),
        ]

    async def make(self, call: Call) -> Result:
        versions = call.query.strings("ver") or ["1"]
        return await self.templates.of(
            Asked(call.origin, call.path["roomId"], call.path["userId"], JOIN, versions)
        )

    async def send(self, call: Call) -> Result:
        room = await self._enter(call)
        omit = call.query.boolean("omit_members", False)
        return Reply(body=self.answers.stream(room, call.path["eventId"], omit_members=omit))

    async def send_v1(self, call: Call) -> Result:
        room = await self._enter(call)
        return Reply(body=_as_v1(self.answers.stream(room, call.path["eventId"], omit_members=False)))

    async def _enter(self, call: Call) -> Room:
        room = await self.rooms.room(call.path["roomId"], call.origin)
        expected = Expected(call.origin, room.room_id, call.path["eventId"], JOIN)
        arrival = await self.submissions.checked(call.body, room.version, expected)
        # Whom the template promised entrance may have lost it meanwhile.
        await self.restricted.authorization(room, arrival.event.sender)
        await self.submissions.accept(arrival)
        return room


async def _as_v1(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The answer as a list with a status [ss "PUT /_matrix/federation/v1/send_join"]."""
    yield b"[200,"
    async for chunk in chunks:
        yield chunk
    yield b"]"
