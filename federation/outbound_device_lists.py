"""m.device_list_update and m.signing_key_update of our users, for the sender [ss "Device Management"].

What a server is to get follows its bookmark, as it is now: of a device that changed often while the server was down
only the last state is sent. A user's changes are counted without gaps, so a server that misses a number asks for the
whole list.
"""

from collections.abc import Collection, Sequence
from typing import Any

import orjson
from attrs import frozen

from federation.outbound_edus import EduBatch, Place
from federation.protocol.transactions import edu_bytes
from homeserver.services.room_servers import RoomServers
from storage import device_updates, e2e_keys
from storage.committer import Kind
from storage.database import Connection, Database
from storage.device_updates import CROSS_SIGNING, DeviceUpdate
from storage.e2e_keys import MASTER, SELF_SIGNING
from storage.state_keys import StateKeys

PAGE = 500  # updates that are looked at together, whomever they are for


@frozen(eq=False)
class DeviceListSource:
    """Follows the changes of devices."""

    database: Database
    state_keys: StateKeys
    room_servers: RoomServers
    our_name: str

    @property
    def kind(self) -> Kind:
        return Kind.DEVICE_LISTS

    async def destinations(self, after: int, upto: int) -> Collection[str]:
        """The servers that share rooms with those whose devices changed."""
        async with self.database.read() as conn:
            if after == 0:
                return await device_updates.behind(conn)
            users = await device_updates.users_changed(conn, after, upto)
            shared = await self.room_servers.of_users(conn, users) if users else {}
        return frozenset[str]().union(*shared.values()) - {self.our_name}

    async def pending(self, destination: str, limit: int) -> EduBatch | None:
        """The next updates of users whom the server sees."""
        async with self.database.read() as conn:
            start = place = await device_updates.bookmark(conn, destination)
            if place is None:
                return None
            edus: list[bytes] = []
            while len(edus) < limit:
                page = await device_updates.after(conn, place, PAGE)
                shown = await self._shown(conn, destination, page)
                taken = shown[: limit - len(edus)]
                edus += await self._edus(conn, taken)
                if len(taken) < len(shown):
                    place = taken[-1].place
                elif page:
                    place = page[-1].place
                if len(page) < PAGE:
                    break
        if not edus and start is not None and place > start:
            await self.delivered(destination, place)
        return EduBatch(edus, place) if edus else None

    async def delivered(self, destination: str, upto: Place) -> None:
        async with self.database.writer() as conn:
            await device_updates.set_bookmark(conn, destination, upto)

    async def _shown(
        self, conn: Connection, destination: str, updates: Sequence[DeviceUpdate]
    ) -> list[DeviceUpdate]:
        """Those of users who share a room with the server."""
        shared = await self.room_servers.of_users(conn, {update.user_nid for update in updates})
        return [update for update in updates if destination in shared.get(update.user_nid, ())]

    async def _edus(self, conn: Connection, updates: Sequence[DeviceUpdate]) -> list[bytes]:
        names = await self.state_keys.user_ids(conn, {update.user_nid for update in updates})
        crossed = {update.user_nid for update in updates if update.device_id == CROSS_SIGNING}
        keys = await e2e_keys.cross_signing_keys(conn, crossed) if crossed else []
        published: dict[int, dict[str, Any]] = {nid: {} for nid in crossed}
        for key in keys:
            if key.usage in (MASTER, SELF_SIGNING):
                published[key.user_nid][f"{key.usage}_key"] = orjson.loads(key.json)
        return [
            edu_bytes("m.signing_key_update", {"user_id": names[one.user_nid], **published[one.user_nid]})
            if one.device_id == CROSS_SIGNING
            else edu_bytes("m.device_list_update", _content(names[one.user_nid], one))
            for one in updates
        ]


def _content(user_id: str, update: DeviceUpdate) -> dict[str, Any]:
    content: dict[str, Any] = {
        "user_id": user_id,
        "device_id": update.device_id,
        "stream_id": update.stream_id,
        "prev_id": [update.stream_id - 1] if update.stream_id > 1 else [],
    }
    if update.deleted:
        content["deleted"] = True
    elif update.json is not None:
        content["keys"] = orjson.loads(update.json)
    return content
