"""Client-Server API, "Mutual Rooms"."""

from attrs import frozen

from homeserver.core.errors import invalid_param
from homeserver.core.ids import is_room_id, is_user_id
from homeserver.services.people import People
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result

_UNSTABLE = "/unstable/uk.half-shot.msc2666/user/mutual_rooms"


@frozen
class MutualRoomsApi:
    """[cs "Mutual Rooms"]"""

    people: People

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("GET", "/v1/mutual_rooms", self.shared, also=(_UNSTABLE,), rate="other")]

    async def shared(self, call: Call) -> Result:
        user_id = call.query.string("user_id")
        if not is_user_id(user_id):
            raise invalid_param("user_id must be a user id")
        if user_id == call.requester.user_id:
            raise invalid_param("user_id must be somebody else's")
        after = call.query.string("from", call.query.string("batch_token", ""))
        if after and not is_room_id(after):
            raise invalid_param("from is no token of this server")
        joined, count = await self.people.rooms_with(call.requester.user_nid, user_id, after)
        answer = {"joined": joined[:-1] if len(joined) > self.people.page else joined, "count": count}
        if len(joined) > self.people.page:
            answer["next_batch"] = joined[-2]
        return answer
