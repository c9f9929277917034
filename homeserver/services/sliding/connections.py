"""The connections of sliding sync: what each client has been told, in memory and in the database.

What an answer tells is only *offered*: it counts once the client comes back with the answer's position. An answer that
was lost is made again from what is confirmed. A state never changes under its ordinal, so memory may be lost, or be
another process's, at any time.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping

import orjson
from attrs import define, field, frozen

from homeserver.core.errors import MatrixError
from homeserver.core.sliding_request import RoomWish, SlidingQuery
from homeserver.core.sliding_state import StateWish
from homeserver.core.tokens import SlidingPos
from homeserver.services.now import now_ms
from homeserver.services.sliding.windows import Selected
from storage import sync_connections
from storage.database import Database
from storage.sync_connections import Place, SentRoom

MAX_ROOMS = 250_000  # told ones, of all connections in memory
MAX_WISHES = 10_000
DAY = 24 * 3600 * 1000
UNUSED_AFTER = 14 * DAY
MAX_OF_DEVICE = 16  # connections: clients use two or three


def unknown_pos() -> MatrixError:
    """The client must start anew [MSC4186 "Connections"]."""
    return MatrixError(400, "M_UNKNOWN_POS", "This position is not known any more; start again without one")


@frozen
class Settled:
    """What the last answer left nothing to say about: as long as nothing happens, so will the next."""

    ordinal: int
    query: SlidingQuery
    windows: Mapping[str, frozenset[int]]
    subscribed: Mapping[int, RoomWish]
    counts: Mapping[str, int]


def settled_by(ordinal: int, selected: Selected) -> Settled:
    """What an answer has settled that left nothing out."""
    windows = {name: frozenset(window.rooms) for name, window in selected.windows.items()}
    return Settled(ordinal, selected.query, windows, selected.subscribed, selected.counts)


@define(eq=False)
class SyncConnection:
    """One connection: `rooms` as confirmed at `base`, and what was offered on top of that."""

    nid: int
    base: int = 0
    rooms: dict[int, SentRoom] = field(factory=dict)
    lagging: set[int] = field(factory=set)  # rooms that were told only up to a place of their own
    offered: tuple[int, Mapping[int, SentRoom]] | None = None
    confirmed: Collection[int] = ()  # rooms of the last confirmed offer: older rows of theirs may go
    settled: Settled | None = None
    subscriptions: dict[str, dict[str, object]] = field(factory=dict)  # of a client that tells each once
    touched_ts: int = 0

    def come_to(self, ordinal: int) -> bool:
        """The client came back with this ordinal; False where it is not known here."""
        if ordinal == self.base:
            return True
        if self.offered is None or self.offered[0] != ordinal:
            return False
        _, told = self.offered
        self.rooms |= told
        self.lagging -= told.keys()
        self.lagging |= {nid for nid, room in told.items() if room.told is not None}
        self.base, self.offered, self.confirmed = ordinal, None, told.keys()
        return True


@define(eq=False)
class SyncConnections:
    """Finds and keeps connections."""

    database: Database
    _kept: OrderedDict[Place, SyncConnection] = field(factory=OrderedDict)
    _count: int = 0
    _wishes: OrderedDict[int, StateWish] = field(factory=OrderedDict)  # by digest

    async def begin(self, place: Place) -> SyncConnection:
        """A client starts anew."""
        now = now_ms()
        async with self.database.transaction() as conn:
            nid = await sync_connections.begin(conn, place, now)
            await sync_connections.drop_unused(conn, place, now - UNUSED_AFTER, MAX_OF_DEVICE)
        return self._keep(place, SyncConnection(nid, touched_ts=now))

    async def resume(self, place: Place, pos: SlidingPos) -> SyncConnection:
        """A client goes on. Raises M_UNKNOWN_POS."""
        found = self._kept.get(place)
        if found is None or found.nid != pos.connection or not self._come_to(found, pos.ordinal):
            found = await self._load(place, pos)
        self._kept.move_to_end(place)
        if now_ms() - found.touched_ts > DAY:
            found.touched_ts = now_ms()
            async with self.database.writer() as conn:
                await sync_connections.touch(conn, found.nid, found.touched_ts)
        return found

    async def offer(self, connection: SyncConnection, told: Mapping[int, SentRoom]) -> int:
        """The ordinal of an answer that tells this. Raises M_UNKNOWN_POS where the connection is gone."""
        if not told:
            return connection.base
        base = connection.base
        async with self.database.writer() as conn:
            ordinal = await sync_connections.offer(conn, connection.nid, base, told, connection.confirmed)
        if ordinal is None:
            raise unknown_pos()
        connection.offered, connection.confirmed = (ordinal, told), ()
        return ordinal

    async def subscribe(
        self, connection: SyncConnection, subscriptions: dict[str, dict[str, object]]
    ) -> None:
        """Remember what the client subscribed to."""
        if subscriptions == connection.subscriptions:
            return
        connection.subscriptions = subscriptions
        async with self.database.writer() as conn:
            await sync_connections.subscribe(conn, connection.nid, orjson.dumps(subscriptions).decode())

    def remember(self, wish: StateWish) -> None:
        """A wish that a client was told by."""
        self._wishes[wish.digest] = wish
        self._wishes.move_to_end(wish.digest)
        if len(self._wishes) > MAX_WISHES:
            self._wishes.popitem(last=False)

    def wish(self, digest: int) -> StateWish | None:
        """The wish with this digest, if it is remembered."""
        return self._wishes.get(digest)

    def _come_to(self, connection: SyncConnection, ordinal: int) -> bool:
        before = len(connection.rooms)
        known = connection.come_to(ordinal)
        self._count += len(connection.rooms) - before
        return known

    async def _load(self, place: Place, pos: SlidingPos) -> SyncConnection:
        async with self.database.read(snapshot=True) as conn:
            stored = await sync_connections.load(conn, place, pos.connection, pos.ordinal)
        if stored is None:
            raise unknown_pos()
        return self._keep(
            place,
            SyncConnection(
                stored.connection_nid,
                pos.ordinal,
                stored.rooms,
                {nid for nid, room in stored.rooms.items() if room.told is not None},
                subscriptions=orjson.loads(stored.subscriptions or "{}"),
            ),
        )

    def _keep(self, place: Place, connection: SyncConnection) -> SyncConnection:
        before = self._kept.pop(place, None)
        self._kept[place] = connection
        self._count += _weight(connection) - (_weight(before) if before is not None else 0)
        self._trim()
        return connection

    def _trim(self) -> None:
        """Forget the connections that nobody used for longest: the database has them."""
        while self._count > MAX_ROOMS and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._count -= _weight(oldest)


def _weight(connection: SyncConnection) -> int:
    return len(connection.rooms) + 100  # what is kept besides takes as much as some rooms
