"""The rooms of a sync answer that the client's device looks into from outside [MSC2753].

They are told like joined rooms, but each event is held against the history visibility, and what passes by in them is
left out. Peeks end when the device looks away, when the user comes in, and when the room is closed to the world: all
of that has a place on the clock, so who asks once more is told the same once more.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from homeserver.core.sync_view import DEFAULT_LIMIT
from homeserver.core.visibility import WORLD_READABLE
from homeserver.services.now import now_ms
from homeserver.services.peeking import PeekEnds
from homeserver.services.room_access import HISTORY_VISIBILITY
from homeserver.services.room_parts import RoomPart
from homeserver.services.sync_request import SyncRequest
from homeserver.services.sync_sections import Passing, RoomSections
from homeserver.services.sync_states import SyncStates
from homeserver.services.sync_timelines import SyncTimelines
from storage import peeks, timelines
from storage.database import Connection
from storage.peeks import PeekRow
from storage.room_batches import MEMBERSHIPS
from storage.timelines import BEGINNING
from storage.user_news import UserRoom

_JOIN, _LEAVE = MEMBERSHIPS["join"], MEMBERSHIPS["leave"]
_MOVED = (_JOIN, _LEAVE, MEMBERSHIPS["ban"])
_NOTHING = Passing({}, {})


@frozen
class Peeked:
    """The sections of `peek`, and those of `leave` for rooms that the device looks into no more."""

    peek: Mapping[str, Any]
    leave: Mapping[str, Any]
    ends: PeekEnds | None

    def leave_beside(self, *others: Mapping[str, Any]) -> dict[str, Any]:
        """What to tell of `leave`, but for rooms that other sections tell of: to those the user is asked in."""
        return {
            room_id: told
            for room_id, told in self.leave.items()
            if not any(room_id in some for some in others)
        }


NO_PEEKS = Peeked({}, {}, None)


@frozen
class PeekedRooms:
    """Reads and writes them."""

    timelines: SyncTimelines
    states: SyncStates
    sections: RoomSections

    async def told(self, conn: Connection, request: SyncRequest, device_nid: int, now: int) -> Peeked:
        """What is new in them for the client."""
        visibility = (await self.timelines.state_keys.find(conn, [HISTORY_VISIBILITY])).get(
            HISTORY_VISIBILITY, 0
        )
        rows = await peeks.of_device(conn, request.user.user_nid, device_nid, visibility)
        ends = await self._ends(conn, rows, now)
        time = now_ms()
        request = _unhurried(request)
        parts = await self._parts(conn, request, [row for row in rows if not _moved(row)], ends, now)
        peek, leave = await self._written(conn, request, parts)
        known = [nid for nid, end in ends.items() if request.since is None or end <= request.position]
        expired = [row.room_nid for row in rows if row.room_nid not in ends and row.until_ts <= time]
        return Peeked(peek, leave, PeekEnds(known, expired))

    async def _ends(self, conn: Connection, rows: Sequence[PeekRow], now: int) -> dict[int, int]:
        """Where the peeks ended that did."""
        nids = {row.visibility_nid for row in rows if row.visibility_nid is not None}
        settings = await self.timelines.reader.by_nids(conn, nids) if nids else {}
        ends = {}
        for row in rows:
            setting = settings.get(row.visibility_nid or 0)
            over = [row.ended] if row.ended is not None else []
            if _moved(row):
                over.append(row.moved)
            if setting is None or setting.event.content.get("history_visibility") != WORLD_READABLE:
                over.append(now if setting is None or setting.position is None else setting.position)
            if over:
                ends[row.room_nid] = min(over)
        return ends

    async def _parts(
        self,
        conn: Connection,
        request: SyncRequest,
        rows: Sequence[PeekRow],
        ends: Mapping[int, int],
        now: int,
    ) -> list[RoomPart]:
        since, whole, keep = request.position, request.style.full_state, request.view.room.rooms
        wanted = [
            row
            for row in rows
            if (keep is None or keep(row.room_id))
            and (
                0 < since < ends[row.room_nid]
                if row.room_nid in ends
                else whole or max(row.head_position, row.begun) > since
            )
        ]
        lows = await _line_ends(conn, {row.room_nid: since for row in wanted if row.begun <= since})
        highs = await _line_ends(
            conn, {row.room_nid: ends[row.room_nid] for row in wanted if row.room_nid in ends}
        )
        return [
            _ended_part(row, since, ends[row.room_nid], lows, highs)
            if row.room_nid in ends
            else _open_part(row, since, now, lows, whole=whole)
            for row in wanted
        ]

    async def _written(
        self, conn: Connection, request: SyncRequest, parts: Sequence[RoomPart]
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        if not parts:
            return {}, {}
        memberships = await self.timelines.fill(conn, request, parts)
        heroes = await self.sections.heroes(conn, request, parts)
        await self.states.fill(conn, request, parts, heroes)
        beside = await self.sections.beside(conn, request, parts, memberships)
        summaries = await self.sections.summaries(conn, parts, heroes)
        return self.sections.written(request, parts, beside, summaries, _NOTHING)


async def _line_ends(conn: Connection, positions: Mapping[int, int]) -> dict[int, int]:
    return await timelines.line_ends(conn, positions) if positions else {}


def _unhurried(request: SyncRequest) -> SyncRequest:
    """The few rooms that somebody has chosen to look into are told at length, also by a first sync."""
    room = request.view.room
    limit = DEFAULT_LIMIT if room.limit is None else room.limit
    return evolve(request, view=evolve(request.view, room=evolve(room, limit=limit)))


def _moved(row: PeekRow) -> bool:
    """Has the user come in since, or come and gone? Then other sections tell of the room."""
    return row.membership == _JOIN or (row.membership in _MOVED and row.moved > row.begun)


def _open_part(row: PeekRow, since: int, now: int, lows: Mapping[int, int], *, whole: bool) -> RoomPart:
    """A room that is looked into: since the token, or from the start where the client knows nothing of it."""
    anew = row.begun > since
    return RoomPart(
        _user_room(row, _JOIN),
        after=BEGINNING if anew else since,
        upto=now,
        low_sp=lows.get(row.room_nid, 0),
        high_sp=row.head_sp,
        whole=anew or whole,
        anew=anew,
        peeked=True,
    )


def _ended_part(
    row: PeekRow, since: int, end: int, lows: Mapping[int, int], highs: Mapping[int, int]
) -> RoomPart:
    """A room that was looked into: up to where that ended; only that it did, to whom nothing has been told."""
    high_sp = highs.get(row.room_nid, 0)
    begun = row.begun <= since
    return RoomPart(
        _user_room(row, _LEAVE),
        after=since if begun else end,
        upto=end,
        low_sp=lows.get(row.room_nid, 0) if begun else high_sp,
        high_sp=high_sp,
        whole=False,
        anew=False,
        peeked=True,
    )


def _user_room(row: PeekRow, membership: int) -> UserRoom:
    """The room as a sync knows rooms; there is no event by which the user stands to it."""
    return UserRoom(
        room_nid=row.room_nid,
        membership=membership,
        event_nid=0,
        position=row.begun,
        forgotten=False,
        stripped_state=None,
        room_id=row.room_id,
        head_position=row.head_position,
        head_sp=row.head_sp,
        joined=row.joined,
        invited=row.invited,
    )
