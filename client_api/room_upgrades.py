"""Client-Server API, "Room upgrades"."""

from attrs import frozen

from homeserver.core.errors import MatrixError, invalid_param
from homeserver.core.ids import is_user_id
from homeserver.core.room_replacing import Replacement
from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.services.belongings import Belongings
from homeserver.services.push_rules import Owner
from homeserver.services.room_upgrade import RoomUpgrade
from homeserver.web import fields
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result


@frozen
class RoomUpgrades:
    """POST /rooms/{roomId}/upgrade."""

    upgrades: RoomUpgrade
    belongings: Belongings

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("POST", "/v3/rooms/{roomId}/upgrade", self.upgrade, rate="create_room", suspended=False)
        ]

    async def upgrade(self, call: Call) -> Result:
        version = ROOM_VERSIONS.get(call.field("new_version", str))
        if version is None:
            raise MatrixError(400, "M_UNSUPPORTED_ROOM_VERSION", "This server does not know the room version")
        user_id = call.requester.user_id
        creators = dict.fromkeys(fields.strings(call.body, "additional_creators"))
        creators.pop(user_id, None)
        if not all(map(is_user_id, creators)):
            raise invalid_param("additional_creators must be user ids")
        new = Replacement(version, user_id, call.path["roomId"], tuple(creators))
        room_id = await self.upgrades.upgrade(new)
        await self.belongings.bring(Owner(user_id, call.requester.user_nid), room_id)
        return {"replacement_room": room_id}
