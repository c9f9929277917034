"""Typing, receipts and presence of our users, put into the mailboxes of the servers that are to hear of them."""

from collections.abc import Collection, Iterable, Mapping

from attrs import define, field, frozen

from federation.mailbox import Mailbox
from federation.roster import Roster
from homeserver.core.ids import domain_of
from homeserver.services.commit_news import Entered
from homeserver.services.now import Clock, now_ms
from homeserver.services.room_servers import RoomServers, Servers
from storage import outbound_edus, typing
from storage.committer import Kind
from storage.database import Connection, Database
from storage.outbound_events import Span
from storage.rooms import RoomRegistry
from storage.state_keys import StateKeys

_PASSING = (Kind.RECEIPTS, Kind.PRESENCE, Kind.TYPING)
RENEW_TYPING = 40_000  # ms: servers forget who types when they are not told again within a minute


@frozen
class PassingNews:
    """What may have changed in a span of the clock; rooms None: anywhere."""

    span: Span
    kinds: Collection[Kind]
    rooms: Mapping[Kind, Collection[int]] | None


@frozen
class Reading:
    """What is read with."""

    database: Database
    our_name: str
    room_servers: RoomServers
    rooms: RoomRegistry
    state_keys: StateKeys


@define(eq=False)
class PassingBy:
    """Tells what passes by."""

    reading: Reading
    roster: Roster
    clock: Clock = now_ms
    _typing: dict[int, dict[int, int]] = field(factory=dict)  # room -> our user -> when it was told

    async def tell(self, news: PassingNews) -> set[str]:
        """Fill the mailboxes; gives the servers that there is something new for."""
        woken: set[str] = set()
        if not any(_concerns(news, kind) for kind in _PASSING):
            return woken
        async with self.reading.database.read() as conn:
            if _concerns(news, Kind.RECEIPTS):
                woken |= await self._receipts(conn, news)
            if _concerns(news, Kind.PRESENCE):
                woken |= await self._presence(conn, news.span)
            if _concerns(news, Kind.TYPING) and news.rooms is not None:
                woken |= await self._typing_in(conn, _rooms(news, Kind.TYPING))
        return woken

    async def greet(self, entered: Mapping[int, Entered]) -> set[str]:
        """Tell the presence of ours to who newly shares a room with them: of all to a server that is new in it,

        of who came to all servers in it.
        """
        async with self.reading.database.read() as conn:
            now = {nid: names for nid, names in (await self._others(conn, entered)).items() if names}
            if not now:
                return set()
            points = [(nid, entered[nid].before) for nid in now]
            befores = await self.reading.room_servers.at(conn, points)
            new = {nid: now[nid] - befores.get((nid, low), frozenset()) for nid, low in points}
            came = {user for nid in now for user in entered[nid].users}
            rooms = [nid for nid, names in new.items() if names]
            found = await outbound_edus.presences_in(
                conn, self.reading.our_name, now, whole=rooms, users=came
            )
        woken: set[str] = set()
        for room_nid, user_id, presence in found:
            names = now[room_nid] if presence.user_nid in entered[room_nid].users else new[room_nid]
            for name, mailbox in self._mailboxes(names):
                mailbox.presence(user_id, presence)
                woken.add(name)
        return woken

    async def renew_typing(self) -> set[str]:
        """Who has been typing for so long that others would forget it is told again."""
        now = self.clock()
        due = [
            room
            for room, users in self._typing.items()
            if any(now - told > RENEW_TYPING for told in users.values())
        ]
        if not due:
            return set()
        for room in due:
            for user in self._typing[room]:
                self._typing[room][user] = 0
        async with self.reading.database.read() as conn:
            return await self._typing_in(conn, due)

    async def _receipts(self, conn: Connection, news: PassingNews) -> set[str]:
        rooms = None if news.rooms is None else _rooms(news, Kind.RECEIPTS)
        found = await outbound_edus.receipts(conn, self.reading.our_name, news.span, rooms)
        servers = await self._others(conn, {receipt.room_nid for receipt in found})
        woken: set[str] = set()
        for receipt in found:
            for name, mailbox in self._mailboxes(servers.get(receipt.room_nid, ())):
                mailbox.receipt(receipt)
                woken.add(name)
        return woken

    async def _presence(self, conn: Connection, span: Span) -> set[str]:
        found = await outbound_edus.presences(conn, self.reading.our_name, span)
        if not found:
            return set()
        servers = await self.reading.room_servers.of_users(conn, [one.user_nid for _, one in found])
        woken: set[str] = set()
        for user_id, presence in found:
            for name, mailbox in self._mailboxes(servers.get(presence.user_nid, ())):
                mailbox.presence(user_id, presence)
                woken.add(name)
        return woken

    async def _typing_in(self, conn: Connection, room_nids: Collection[int]) -> set[str]:
        """Compare who of our users types in the rooms with who was told to."""
        servers = {nid: names for nid, names in (await self._others(conn, room_nids)).items() if names}
        rooms = await self.reading.rooms.by_nids(conn, servers)
        rows = {row.room_nid: row.until for row in await typing.since(conn, [(nid, 0) for nid in rooms])}
        users = {nid for until in rows.values() for nid in until}
        users |= {nid for room in rooms for nid in self._typing.get(room, ())}
        names = await self.reading.state_keys.user_ids(conn, users)
        now = self.clock()
        woken: set[str] = set()
        for nid, room in rooms.items():
            ours = {
                user
                for user, until in rows.get(nid, {}).items()
                if until > now and domain_of(names[user]) == self.reading.our_name
            }
            for user, typing_now in self._changed(nid, ours, now):
                for name, mailbox in self._mailboxes(servers[nid]):
                    mailbox.typing(room.room_id, names[user], typing_now)
                    woken.add(name)
        return woken

    def _changed(self, room_nid: int, ours: set[int], now: int) -> list[tuple[int, bool]]:
        """Who began or goes on, and who ended, since it was told."""
        told = self._typing.pop(room_nid, {})
        begun = [(user, True) for user in ours if not told.get(user)]
        ended = [(user, False) for user in told if user not in ours]
        if ours:
            self._typing[room_nid] = {user: told.get(user) or now for user in ours}
        return begun + ended

    async def _others(self, conn: Connection, room_nids: Collection[int]) -> dict[int, Servers]:
        """The other servers in rooms now."""
        if not room_nids:
            return {}
        found = await self.reading.room_servers.current(conn, room_nids)
        return {nid: names - {self.reading.our_name} for nid, names in found.items()}

    def _mailboxes(self, names: Iterable[str]) -> list[tuple[str, Mailbox]]:
        others = (name for name in names if name != self.reading.our_name)
        queues = [queue for name in others if (queue := self.roster.queue(name)) is not None]
        return [(queue.name, queue.mailbox) for queue in queues]


def _concerns(news: PassingNews, kind: Kind) -> bool:
    return news.rooms is None or kind in news.kinds or Kind.ANYTHING in news.kinds


def _rooms(news: PassingNews, kind: Kind) -> set[int]:
    assert news.rooms is not None
    return {*news.rooms.get(kind, ()), *news.rooms.get(Kind.ANYTHING, ())}
