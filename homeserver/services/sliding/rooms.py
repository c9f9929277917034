"""The rooms of a sliding sync answer: read together by the readers of /sync, each from where its client has it.

A room is told whole (`initial`), by what is new, or as outsiders know it: by the state that came with an invitation.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import orjson
from attrs import define, evolve, field, frozen

from homeserver.core.sliding_answer import GONE, hero, stub
from homeserver.core.sliding_state import StateWish
from homeserver.core.sync_view import RoomView, View
from homeserver.core.tokens import SyncToken
from homeserver.services.now import now_ms
from homeserver.services.room_parts import Until, bounded_parts
from homeserver.services.sliding.room_list import GONE as LEFT
from homeserver.services.sliding.room_list import JOIN, RoomList
from homeserver.services.sliding.states import RequiredStates, values_at
from homeserver.services.sliding.telling import EVERYTHING, NAME, Telling
from homeserver.services.sliding.windows import Selected
from homeserver.services.sync_request import SyncRequest
from homeserver.services.sync_sections import Pen, RoomSections
from homeserver.services.sync_timelines import SyncTimelines
from storage import room_lists, user_news
from storage.database import Connection
from storage.room_batches import MEMBERSHIP_NAMES
from storage.room_lists import BUMP_TYPES
from storage.sync_connections import SentRoom
from storage.user_news import UserRoom

WRITTEN_AT_ONCE = 20  # rooms, before others get their turn


@frozen
class Todo:
    """Rooms to tell, and what of them the client has; `wish` finds the one with a digest."""

    selected: Selected
    room_list: RoomList
    sent: Mapping[int, SentRoom]
    nids: Sequence[int]
    read: Collection[int]  # in which the user has read on
    wish: Callable[[int], StateWish | None]


@define
class ToldRooms:
    """What became of them: rooms by id, and what the client has then.

    Rooms have `begun` that were told from the beginning; `shown` are the events of all timelines that begin anew.
    `people` came, or have to be shown for the first time.
    """

    rooms: dict[str, dict[str, Any]] = field(factory=dict)
    sent: dict[int, SentRoom] = field(factory=dict)
    begun: set[int] = field(factory=set)
    shown: dict[int, list[str]] = field(factory=dict)  # room_nid -> event ids
    people: dict[int, frozenset[int]] = field(factory=dict)


@frozen
class SlidingRooms:
    """Tells rooms."""

    timelines: SyncTimelines
    states: RequiredStates
    sections: RoomSections

    async def tell(self, conn: Connection, request: SyncRequest, todo: Todo, now: int) -> ToldRooms:
        """Read and write the rooms, as of one moment."""
        told = ToldRooms()
        rows = await room_lists.these_rooms(conn, request.user.user_nid, todo.nids) if todo.nids else []
        inside = [row for row in rows if _is_inside(row, todo)]
        for row in rows:
            if row not in inside:
                _tell_outside(told, row, todo)
        if inside:
            await self._tell_inside(conn, request, todo, (inside, now), told)
        return told

    async def _tell_inside(
        self,
        conn: Connection,
        request: SyncRequest,
        todo: Todo,
        wanted: tuple[Sequence[UserRoom], int],
        told: ToldRooms,
    ) -> None:
        rows, now = wanted
        since = [(row, _since(todo.sent.get(row.room_nid), request.position)) for row in rows]
        parts = await bounded_parts(conn, self.timelines.reader, request.user.user_nid, since, Until(now))
        tellings = []
        for part in parts:
            before = todo.sent.get(part.room_nid)
            if not part.joined and part.row.position <= _since(before, request.position):
                part.after, part.low_sp = part.upto, part.high_sp  # that it was left is known
            wish = todo.selected.wish_of(part.room_nid)
            old = todo.wish(before.wish) if before is not None else None
            tellings.append(Telling(part, wish, before, old))
        memberships = await self._timelines(conn, request, tellings)
        await self.states.fill(conn, tellings)
        heroes = await self._heroes(conn, request, tellings)
        bumps = await self._bumps(conn, tellings, now)
        joined = [one.room_nid for one in tellings if one.part.joined]
        unread = await self.sections.counts.of(conn, request.user, joined, now)
        for one in tellings:  # what /sync's readers look for
            one.part.state = list(one.told.values())
        beside = await self.sections.beside(conn, request, [one.part for one in tellings], memberships)
        pen = Pen(request, beside, now_ms())
        for number, one in enumerate(tellings, start=1):
            dm = one.part.row.room_id in todo.room_list.direct
            room = _written(one, pen, heroes.get(one.room_nid), dm=dm)
            if one.room_nid in unread and (room or one.room_nid in todo.read):
                total = unread[one.room_nid].total
                room |= {"notification_count": total.notifications, "highlight_count": total.highlights}
            if room:
                _add_place(room, one, todo.selected, bumps.get(one.room_nid))
            _put(told, one, room, dm=dm)
            if number % WRITTEN_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _timelines(
        self, conn: Connection, request: SyncRequest, tellings: Sequence[Telling]
    ) -> dict[int, str]:
        """Fill them, those with the same limit together."""
        groups: dict[tuple[int, bool], list[Telling]] = {}
        for one in tellings:
            groups.setdefault((one.wish.limit, one.from_start), []).append(one)
        memberships: dict[int, str] = {}
        for (limit, from_start), group in groups.items():
            view = View(room=RoomView(limit=limit))
            since = None if from_start else request.since or SyncToken(0)
            asked = evolve(request, since=since, view=view)
            memberships |= await self.timelines.fill(conn, asked, [one.part for one in group])
        return memberships

    async def _heroes(
        self, conn: Connection, request: SyncRequest, tellings: Sequence[Telling]
    ) -> dict[int, list[dict[str, Any]]]:
        """Who names the rooms that have no name [MSC4186 "RoomResult" `heroes`]."""
        unnamed = await self._unnamed(conn, tellings)
        if not unnamed:
            return {}
        nids = await user_news.heroes(conn, request.user.user_nid, [one.room_nid for one in unnamed])
        places = [
            (one.room_nid, user, one.part.high_sp + 1)
            for one in unnamed
            for user in nids.get(one.room_nid, ())
        ]
        values = await values_at(conn, places)
        events = await self.timelines.reader.by_nids(
            conn, {nid for found in values.values() for nid in found.values()}
        )
        return {
            one.room_nid: [
                hero(events[nid].event.state_key or "", events[nid].event.content)
                for user in nids.get(one.room_nid, ())
                if (nid := values.get(one.room_nid, {}).get(user)) in events and nid is not None
            ]
            for one in unnamed
        }

    async def _unnamed(self, conn: Connection, tellings: Sequence[Telling]) -> list[Telling]:
        """The rooms without a name whose members, or the name, are news."""
        joined = [one for one in tellings if one.part.joined]
        found = [one for one in joined if NAME in one.named and _name_of(one) is None]
        asked = [one for one in joined if NAME not in one.named and one.members_changed]
        if asked:
            key = (await self.states.state_keys.find(conn, [NAME])).get(NAME, 0)
            values = await room_lists.state_of_keys(conn, [one.room_nid for one in asked], [key])
            events = await self.timelines.reader.by_nids(
                conn, {nid for value in values.values() for nid in value.values()}
            )
            names = {stored.room.nid: stored.event.content.get("name") for stored in events.values()}
            found += [one for one in asked if not names.get(one.room_nid)]
        return found

    async def _bumps(self, conn: Connection, tellings: Sequence[Telling], now: int) -> dict[int, int]:
        """When each joined room last stood out, as far as that is news."""
        bumps: dict[int, int] = {}
        places = []
        for one in tellings:
            if not one.part.joined:
                continue
            positions = [event.position or 0 for event in one.part.events if event.event.type in BUMP_TYPES]
            if positions:
                bumps[one.room_nid] = max(positions)
            elif one.initial or one.part.limited or one.part.dropped:
                places.append((one.room_nid, 0 if one.from_start else one.part.after, now))
        return bumps | (await room_lists.bump_stamps(conn, places) if places else {})


def _is_inside(row: UserRoom, todo: Todo) -> bool:
    """May the user see the room's timeline, now or as it was when they left?"""
    if row.membership == JOIN or row.room_nid in todo.room_list.ended:
        return True
    before = todo.sent.get(row.room_nid)
    return before is not None and not before.stub and row.membership in LEFT


def _since(before: SentRoom | None, position: int) -> int:
    if before is None or before.stub:
        return 0
    return position if before.told is None else before.told


def _tell_outside(told: ToldRooms, row: UserRoom, todo: Todo) -> None:
    """What is known of the room from outside [MSC4186 "Invite/knock/rejections"]."""
    room: dict[str, Any] = {
        "initial": True,
        "stripped_state": orjson.Fragment(row.stripped_state or "[]"),
        "bump_stamp": row.position,
        "membership": MEMBERSHIP_NAMES[row.membership],
    }
    dm = row.room_id in todo.room_list.direct
    if dm:
        room["is_dm"] = True
    lists = todo.selected.lists_of(row.room_nid)
    if lists:
        room["lists"] = lists
    told.rooms[row.room_id] = room
    told.begun.add(row.room_nid)
    told.sent[row.room_nid] = SentRoom(None, 0, 0, dm, stub=True)


def _written(one: Telling, pen: Pen, heroes: list[dict[str, Any]] | None, *, dm: bool) -> dict[str, Any]:
    """What there is to say; empty: nothing."""
    part, room = one.part, _descriptive(one)
    if one.initial:
        room["initial"] = True
    if one.expanded:
        room["expanded_timeline"] = True
    if heroes or (heroes is not None and not one.initial):
        room["heroes"] = heroes
    if dm if one.before is None or one.initial else dm != one.before.dm:
        room["is_dm"] = dm
    if one.told:
        room["required_state"] = [pen.event(stored) for stored in part.state]
    if one.gone:
        room[GONE] = [stub(key) for key in one.gone]
    if part.events or one.from_start or part.limited:
        room |= _timeline(one, pen)
    return room


def _descriptive(one: Telling) -> dict[str, Any]:
    """Name, avatar and how many are there, as far as they are news."""
    room: dict[str, Any] = {}
    for key, stored in one.named.items():
        name, field_name = ("name", "name") if key == NAME else ("avatar", "url")
        value = stored.event.content.get(field_name) if stored is not None else None
        value = value if isinstance(value, str) and value else None
        if value is not None or not one.initial:
            room[name] = value
    if one.members_changed and one.part.joined:
        row = one.part.row
        room |= {"joined_count": row.joined, "invited_count": row.invited}
    return room


def _timeline(one: Telling, pen: Pen) -> dict[str, Any]:
    written = pen.timeline(one.part)
    position = pen.request.position
    live = [event for event in one.part.events if position and (event.position or 0) > position]
    return {
        "timeline": written["events"],
        "limited": written["limited"],
        "prev_batch": written["prev_batch"],
        "num_live": len(live),
    }


def _put(told: ToldRooms, one: Telling, room: dict[str, Any], *, dm: bool) -> None:
    """Take it into the answer, and keep what of it the client has then."""
    part = one.part
    sent = one.sent(dm=dm)
    if not part.joined:
        sent = evolve(sent, have=EVERYTHING)
    if room:
        told.rooms[part.row.room_id] = room
    if one.initial:
        told.begun.add(part.room_nid)
    if one.from_start:
        told.shown[part.room_nid] = [event.event.event_id for event in part.events]
    if one.people and part.joined:
        told.people[part.room_nid] = one.people
    if sent != one.before:
        told.sent[part.room_nid] = sent


def _add_place(room: dict[str, Any], one: Telling, selected: Selected, bump: int | None) -> None:
    row = one.part.row
    if not one.part.joined or (bump is None and one.initial):
        bump = row.position
    if bump is not None:
        room["bump_stamp"] = bump
    room["membership"] = MEMBERSHIP_NAMES[row.membership]
    lists = selected.lists_of(row.room_nid)
    if lists:
        room["lists"] = lists


def _name_of(one: Telling) -> object:
    stored = one.named.get(NAME)
    return (stored.event.content.get("name") if stored is not None else None) or None
