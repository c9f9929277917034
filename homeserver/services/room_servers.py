"""Which servers are in a room, now or at any point of its main line: whom its events are for.

For each room the number of joined members by server is counted once, by the database, at some length of the main line.
From there it is rolled along the line, forwards and backwards, by the entries that lie between: exact at every point,
in any number of processes, and without a query for the members of a room of 28,000.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from sys import intern

from attrs import define, field, frozen

from homeserver.core.ids import is_server_name
from storage import room_servers as rows
from storage.database import Connection
from storage.room_servers import MemberMove

MAX_NAMES = 500_000  # servers, summed over the rooms in memory
ROLLED_AT_MOST = 5_000  # entries of the main line: beyond, counting anew costs less

Point = tuple[int, int]  # room_nid, length of the main line
Servers = frozenset[str]


@frozen(eq=False)
class Counted:
    """The servers in a room at one length of its main line."""

    sp: int
    joined: Mapping[str, int]
    names: Servers

    def rolled(self, moves: Sequence[MemberMove], sp: int) -> "Counted":
        """At another length; `moves` has at least the entries between."""
        low, high = min(self.sp, sp), max(self.sp, sp)
        between = [move for move in moves if low < move.sp <= high]
        if not between:
            return Counted(sp, self.joined, self.names)
        joined = dict(self.joined)
        for move in between:
            step = 1 if move.joins == (sp > self.sp) else -1
            joined[move.server] = joined.get(move.server, 0) + step
        return counted(sp, joined)


def counted(sp: int, joined: Mapping[str, int]) -> Counted:
    """Without servers whose last member has gone, and without names that are none."""
    kept = {intern(name): count for name, count in joined.items() if count > 0 and is_server_name(name)}
    return Counted(sp, kept, frozenset(kept))


@define(eq=False)
class RoomServers:
    """A bounded memory of who is where. The names include ours."""

    max_names: int = MAX_NAMES
    _rooms: OrderedDict[int, Counted] = field(factory=OrderedDict)
    _names: int = 0

    @property
    def remembered(self) -> int:
        """How much is in memory, counted as `max_names` counts."""
        return self._names

    async def servers_in(self, conn: Connection, room_nid: int) -> Servers:
        """The servers that have a joined member in a room now."""
        return (await self.current(conn, [room_nid])).get(room_nid, frozenset())

    async def current(self, conn: Connection, room_nids: Iterable[int]) -> dict[int, Servers]:
        """The servers in rooms now; rooms we have never been in are left out."""
        lengths = await rows.line_lengths(conn, set(room_nids))
        found = await self.at(conn, lengths.items())
        return {room_nid: servers for (room_nid, _), servers in found.items()}

    async def at(self, conn: Connection, points: Iterable[Point]) -> dict[Point, Servers]:
        """The servers in rooms at lengths of their main lines."""
        wanted: dict[int, set[int]] = {}
        for room_nid, sp in points:
            wanted.setdefault(room_nid, set()).add(sp)
        known = await self._known(conn, wanted)
        spans = [
            (room_nid, min(*lengths, known[room_nid].sp), max(*lengths, known[room_nid].sp))
            for room_nid, lengths in wanted.items()
            if room_nid in known and lengths != {known[room_nid].sp}
        ]
        moves = await rows.member_moves(conn, spans) if spans else {}
        found: dict[Point, Servers] = {}
        for room_nid, start in known.items():
            here = start
            for sp in sorted(wanted[room_nid]):
                here = here.rolled(moves.get(room_nid, ()), sp)
                found[room_nid, sp] = here.names
            if here.sp >= start.sp:
                self._remember(room_nid, here)
        return found

    async def of_users(self, conn: Connection, user_nids: Iterable[int]) -> dict[int, Servers]:
        """The servers that share a room with users; those in no room are left out."""
        rooms = await rows.rooms_of_users(conn, user_nids)
        servers = await self.current(conn, {room_nid for nids in rooms.values() for room_nid in nids})
        nobody: Servers = frozenset()
        return {
            user: nobody.union(*(servers.get(nid, nobody) for nid in nids)) for user, nids in rooms.items()
        }

    async def _known(self, conn: Connection, wanted: Mapping[int, set[int]]) -> dict[int, Counted]:
        """What is remembered near the wanted points, and the rest counted by the database."""
        known: dict[int, Counted] = {}
        for room_nid, lengths in wanted.items():
            here = self._rooms.get(room_nid)
            if here is not None and max(lengths) - here.sp <= ROLLED_AT_MOST:
                self._rooms.move_to_end(room_nid)
                known[room_nid] = here
        missing = wanted.keys() - known.keys()
        if missing:
            for room_nid, found in (await rows.residents(conn, missing)).items():
                known[room_nid] = counted(found.sp, found.joined)
                self._remember(room_nid, known[room_nid])
        return known

    def _remember(self, room_nid: int, here: Counted) -> None:
        """Rooms asked for least recently are forgotten first."""
        old = self._rooms.pop(room_nid, None)
        self._rooms[room_nid] = here
        self._names += _weight(here) - (_weight(old) if old is not None else 0)
        while self._names > self.max_names and len(self._rooms) > 1:
            _, dropped = self._rooms.popitem(last=False)
            self._names -= _weight(dropped)


def _weight(here: Counted) -> int:
    return len(here.names) + 1
