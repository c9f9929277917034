"""Looking into a room without being in it; what is seen there comes by /sync, to the device that looks [MSC2753].

The proposal named its endpoints anew on its way: `/peek/{roomIdOrAlias}` has the form of `/join`, and `/peek_room`
names the room in its body.
"""

from attrs import frozen

from client_api.visitor import visitor
from federation.aliases import Aliases
from homeserver.core.errors import invalid_param
from homeserver.core.ids import is_room_alias, is_room_id
from homeserver.services.peeking import Peeks
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result

UNSTABLE = "/unstable/org.matrix.msc2753"


@frozen
class Peeking:
    """[MSC2753]"""

    peeks: Peeks
    aliases: Aliases

    def endpoints(self) -> list[Endpoint]:
        guest = Auth.GUEST_OK
        return [
            Endpoint(
                "POST",
                "/v3/peek/{roomIdOrAlias}",
                self.peek,
                also=(f"{UNSTABLE}/peek/{{roomIdOrAlias}}",),
                auth=guest,
                rate="join",
                empty_body=True,
            ),
            Endpoint("POST", f"{UNSTABLE}/peek_room", self.peek_room, auth=guest, rate="join"),
            Endpoint(
                "POST",
                "/v3/unpeek/{roomId}",
                self.unpeek,
                also=(f"{UNSTABLE}/unpeek/{{roomId}}", f"{UNSTABLE}/rooms/{{roomId}}/unpeek"),
                auth=guest,
                empty_body=True,
            ),
        ]

    async def peek(self, call: Call) -> Result:
        return await self._begin(call, call.path["roomIdOrAlias"])

    async def peek_room(self, call: Call) -> Result:
        return await self._begin(call, call.field("room", str))

    async def unpeek(self, call: Call) -> Result:
        await self.peeks.end(visitor(call), call.path["roomId"])
        return {}

    async def _begin(self, call: Call, named: str) -> Result:
        room_id = named
        if is_room_alias(named):
            room_id = (await self.aliases.resolve(named)).room_id
        elif not is_room_id(named):
            raise invalid_param("Neither a room id nor a room alias")
        until_ts = await self.peeks.begin(visitor(call), room_id)
        return {"room_id": room_id, "peek_expiry_ts": until_ts}
