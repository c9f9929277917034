"""When devices or keys of a user change: who shares a room is told, here and on other servers.

A change is recorded in the transaction that makes it, or right after. [cs "Tracking the device list for a user",
ss "Device Management"]
"""

from collections.abc import Iterable, Sequence

from attrs import define, field, frozen

from homeserver.services.room_servers import RoomServers
from storage import device_updates
from storage.committer import Committer, Kind, Touched
from storage.database import Connection, Database
from storage.devices import record_device_list_change
from storage.room_servers import rooms_of_users

MAX_SERVERS = 100_000  # names in memory


@frozen
class DeviceNews:
    """What is to be recorded of one of our users, and who is to hear of it."""

    user_nid: int
    touched: Touched
    servers: Sequence[str]  # those that have no bookmark yet
    device_ids: Sequence[str] = ()
    cross_signing: bool = False

    @property
    def seen_by(self) -> int:
        """Nobody else sees the user-signing key: a change of it alone is told to the user's own devices."""
        return 0 if self.device_ids or self.cross_signing else self.user_nid

    async def record(self, conn: Connection, position: int) -> None:
        """In the transaction of the change."""
        await record_device_list_change(conn, position, [self.user_nid], seen_by=self.seen_by)
        if self.servers:
            await device_updates.begin_bookmarks(conn, self.servers, position - 1)
        if self.device_ids:
            await device_updates.record(conn, position, self.user_nid, self.device_ids)
        if self.cross_signing:
            await device_updates.record_cross_signing(conn, position, self.user_nid)


@define(eq=False)
class DeviceLists:
    """Notes changes on the one clock."""

    database: Database
    committer: Committer
    room_servers: RoomServers
    server_name: str
    _begun: set[str] = field(factory=set)  # servers that surely have a bookmark

    async def about(
        self, user_nid: int, device_ids: Iterable[str] = (), *, cross_signing: bool = False
    ) -> DeviceNews:
        """What is to be recorded when these devices of one of our users, or the user's own keys, change."""
        async with self.database.read() as conn:
            servers = (await self.room_servers.of_users(conn, [user_nid])).get(user_nid, frozenset[str]())
            touched = await self.concerned(conn, [user_nid])
        fresh = sorted(servers - self._begun - {self.server_name})
        return DeviceNews(user_nid, touched, fresh, tuple(device_ids), cross_signing)

    def recorded(self, news: DeviceNews) -> None:
        """What `about` gave is durable."""
        if len(self._begun) > MAX_SERVERS:
            self._begun.clear()
        self._begun.update(news.servers)

    async def changed(self, user_nid: int, device_ids: Iterable[str]) -> None:
        """These devices of one of our users have come, gone or changed."""
        news = await self.about(user_nid, device_ids)
        await self.committer.run(news.record, news.touched)
        self.recorded(news)

    async def concerned(self, conn: Connection, user_nids: Sequence[int]) -> Touched:
        """The users, of any server, and the rooms whose members are to hear that keys of theirs changed."""
        rooms = await rooms_of_users(conn, user_nids)
        nids = {room_nid for found in rooms.values() for room_nid in found}
        return Touched(tuple(user_nids), tuple(nids), Kind.DEVICE_LISTS)
