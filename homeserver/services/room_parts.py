"""The rooms of one sync answer: which of them have something to say, since when, and whether the client starts anew.

A room that was joined, left and joined again since the token is told from the start, like one that is new. All
is read in one snapshot of the database, so state, timelines and memberships belong together.
"""

from collections.abc import Mapping, Sequence

from attrs import define, field, frozen

from homeserver.services.histories import History
from homeserver.services.sync_request import SyncRequest
from storage import timelines
from storage.database import Connection
from storage.events import EventReader, StoredEvent
from storage.key_histories import key_histories
from storage.room_batches import MEMBERSHIPS
from storage.timelines import BEGINNING
from storage.user_news import UserRoom

JOIN = MEMBERSHIPS["join"]
_LEFT = (MEMBERSHIPS["leave"], MEMBERSHIPS["ban"])


@define(eq=False)
class RoomPart:
    """One room of the answer: first its bounds, then what was found within them.

    The timeline lies in (after, upto] of the clock, state changes in (low_sp, high_sp] of the main line. `whole`: the
    whole state is told. `anew`: the client knows nothing of the room. `own`: the user's event that ended it; `left_sp`:
    where the user left, if others changed the membership once more since. `peeked`: the reader looks in from outside.
    """

    row: UserRoom
    after: int
    upto: int
    low_sp: int
    high_sp: int
    whole: bool
    anew: bool
    own: StoredEvent | None = None
    left_sp: int | None = None
    peeked: bool = False
    events: list[StoredEvent] = field(factory=list)
    limited: bool = False
    dropped: bool = False  # events were left out of the timeline
    final: dict[int, int | None] = field(factory=dict)
    state: list[StoredEvent] = field(factory=list)

    @property
    def room_nid(self) -> int:
        """The room's number."""
        return self.row.room_nid

    @property
    def joined(self) -> bool:
        """Does the part go to `join`, rather than to `leave`?"""
        return self.row.membership == JOIN

    @property
    def in_line(self) -> bool:
        """Do the events say all that happened to the state since `low_sp`, one after the other?"""
        if self.whole or self.limited or self.dropped:
            return False
        sp = self.low_sp
        for event in self.events:
            if event.overlay_nid is not None or event.state_sp != sp:
                return False
            if event.line_sp != sp + event.on_line or event.on_line != event.event.is_state:
                return False
            sp = event.line_sp
        return sp == self.high_sp

    @property
    def start_sp(self) -> int:
        """The main line's length where the timeline starts."""
        if not self.events:
            return self.high_sp
        first = self.events[0]
        return (first.line_sp or 0) - first.on_line


async def room_parts(
    conn: Connection, reader: EventReader, request: SyncRequest, rows: Sequence[UserRoom], now: int
) -> list[RoomPart]:
    """The joined and left rooms that may have something to say, with their bounds."""
    since, whole = request.position, request.style.full_state
    keep = request.view.room.rooms
    wanted = [
        (row, since) for row in rows if (keep is None or keep(row.room_id)) and _concerned(row, since, whole)
    ]
    return await bounded_parts(conn, reader, request.user.user_nid, wanted, Until(now, whole))


@frozen
class Until:
    """Up to where rooms are told, and whether their whole state is asked for."""

    now: int
    whole: bool = False


async def bounded_parts(
    conn: Connection,
    reader: EventReader,
    user_nid: int,
    wanted: Sequence[tuple[UserRoom, int]],
    until: Until,
) -> list[RoomPart]:
    """Joined and left rooms, each with the position up to which the client knows it (0: not at all)."""
    lows = await _line_ends(conn, wanted)
    own = await _own_events(conn, reader, [row for row, _ in wanted])
    pasts = await _pasts(conn, reader, user_nid, wanted, lows)
    parts = []
    for row, since in wanted:
        part = RoomPart(
            row,
            after=since,
            upto=until.now,
            low_sp=lows.get(row.room_nid, 0),
            high_sp=row.head_sp,
            whole=until.whole,
            anew=False,
        )
        past = pasts.get(row.room_nid)
        if row.membership == JOIN:
            _bound_joined(part, past, new=since == 0)
        else:
            part.own = own.get(row.event_nid)
            _bound_left(part, past)
        parts.append(part)
    return parts


async def _line_ends(conn: Connection, wanted: Sequence[tuple[UserRoom, int]]) -> dict[int, int]:
    known = {row.room_nid: since for row, since in wanted if since}
    return await timelines.line_ends(conn, known) if known else {}


def _concerned(row: UserRoom, since: int, full_state: bool) -> bool:
    if row.membership == JOIN:
        return full_state or (row.head_position or 0) > since or row.position > since
    return row.membership in _LEFT and (row.position > since if since else not row.forgotten)


async def _own_events(
    conn: Connection, reader: EventReader, rows: Sequence[UserRoom]
) -> dict[int, StoredEvent]:
    nids = [row.event_nid for row in rows if row.membership != JOIN]
    return await reader.by_nids(conn, nids) if nids else {}


async def _pasts(
    conn: Connection,
    reader: EventReader,
    user_nid: int,
    wanted: Sequence[tuple[UserRoom, int]],
    lows: Mapping[int, int],
) -> dict[int, History]:
    """The user's memberships since the client's position, of rooms where they changed; all of those that were left."""
    ranges = [
        (row.room_nid, user_nid, lows.get(row.room_nid, 0) if row.membership == JOIN else 0)
        for row, since in wanted
        if row.membership != JOIN or (row.position > since and since)
    ]
    if not ranges:
        return {}
    found = await key_histories(conn, reader, ranges)
    return {room_nid: History.of(key_nid, values) for (room_nid, key_nid), values in found.items()}


def _bound_joined(part: RoomPart, past: History | None, *, new: bool) -> None:
    """A room the user is in: from the token on, or from the start if the user was not in it all the time."""
    unbroken = past is None or (
        _joined(past.at(part.low_sp)) and all(_joined(value) for value in past.changes_after(part.low_sp))
    )
    if new or not unbroken:
        part.after, part.low_sp, part.whole, part.anew = BEGINNING, 0, True, True


def _bound_left(part: RoomPart, past: History | None) -> None:
    """A room the user has left: up to the event that ended it; only this event if the user never was in it."""
    own = part.own
    part.whole = False
    if own is None or own.position is None or own.line_sp is None:
        part.upto, part.after = 0, 0
        part.low_sp = part.high_sp = 0
        return
    part.upto, part.high_sp = own.position, own.line_sp
    part.left_sp = _left_at(past)
    known = part.after >= own.position
    recent = (
        (past.at(part.low_sp), *past.changes_after(part.low_sp)) if past is not None and not known else ()
    )
    if recent and _joined(recent[0]) and part.after:
        return
    if any(_joined(value) for value in recent):
        part.after, part.low_sp, part.whole, part.anew = BEGINNING, 0, True, True
        return
    part.after, part.low_sp = own.position - 1, own.line_sp


def _left_at(past: History | None) -> int | None:
    """Where on the main line the user was last put out, or went."""
    joins = [place for place, value in enumerate(past.values) if _joined(value)] if past is not None else []
    return past.sps[joins[-1] + 1] if past is not None and joins and joins[-1] + 1 < len(past.sps) else None


def _joined(entry: StoredEvent | None) -> bool:
    return entry is not None and entry.event.membership == "join"
