"""The rooms below a space, in the order in which one would read them [cs "Querying rooms within a space"].

Each level of the tree is read at once, as deep as was asked for; then the tree is walked depth first. Rooms that only
other servers know are left out.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen

from homeserver.core.errors import forbidden
from homeserver.core.event import Event
from homeserver.core.room_summary import RoomSummary
from homeserver.services.room_access import Visitor
from homeserver.services.room_summaries import RoomSummaries
from storage import spaces
from storage.database import Connection
from storage.rooms import Room

MAX_ROOMS = 1_000  # of one tree
MAX_DEPTH = 20
_ORDER = re.compile(r"[\x20-\x7e]{1,50}")


@frozen
class Tree:
    """What was read of a space: summaries of the rooms that may be told, and the children of each."""

    summaries: Mapping[str, RoomSummary]
    children: Mapping[str, list[Event]]

    def walk(self, root: str, depth: int) -> list[dict[str, Any]]:
        """The rooms, depth first, each once."""
        told: list[dict[str, Any]] = []
        seen: set[str] = set()
        waiting = [(root, 0)]
        while waiting:
            room_id, level = waiting.pop()
            if room_id in seen or room_id not in self.summaries:
                continue
            seen.add(room_id)
            children = self.children.get(room_id, [])
            form = self.summaries[room_id].full_form()
            told.append({**form, "children_state": [_stripped_child(event) for event in children]})
            if level < depth:
                waiting += [(event.state_key or "", level + 1) for event in reversed(children)]
        return told


@frozen
class Spaces:
    """Reads hierarchies."""

    summaries: RoomSummaries

    async def hierarchy(
        self, room_id: str, visitor: Visitor, *, depth: int, suggested_only: bool
    ) -> list[dict[str, Any]]:
        """The space and the rooms below it that the visitor may know of."""
        async with self.summaries.database.read() as conn:
            tree = await self._tree(conn, room_id, visitor, min(depth, MAX_DEPTH), suggested_only)
        if room_id not in tree.summaries:
            raise forbidden("You may not see this space")
        return tree.walk(room_id, depth)

    async def _tree(
        self, conn: Connection, root: str, visitor: Visitor, depth: int, suggested_only: bool
    ) -> Tree:
        known: dict[str, RoomSummary] = {}
        children: dict[str, list[Event]] = {}
        level, looked_up = {root}, set[str]()
        for _ in range(depth + 1):
            level -= looked_up
            looked_up |= level
            if not level or len(known) >= MAX_ROOMS:
                break
            rooms = await self.summaries.reader.rooms.by_ids(conn, sorted(level)[:MAX_ROOMS])
            found = await self.summaries.of(conn, rooms)
            told = await self.summaries.open_to(conn, found, visitor)
            known |= {found[nid].room_id: found[nid] for nid in told}
            below = await self._children(conn, [room for room in rooms if room.nid in told], suggested_only)
            children |= below
            level = {event.state_key or "" for events in below.values() for event in events}
        return Tree(known, children)

    async def _children(
        self, conn: Connection, rooms: Iterable[Room], suggested_only: bool
    ) -> dict[str, list[Event]]:
        """room_id -> its children in order."""
        by_nid = {room.nid: room.room_id for room in rooms}
        found = await spaces.children(conn, self.summaries.reader, by_nid)
        return {
            by_nid[nid]: sorted(
                (one.event for one in stored if _is_child(one.event, suggested_only)), key=_place_of
            )
            for nid, stored in found.items()
        }


def _is_child(event: Event, suggested_only: bool) -> bool:
    """A child without servers to ask has been removed [cs "m.space.child"]."""
    via = event.content.get("via")
    suggested = not suggested_only or event.content.get("suggested") is True
    return isinstance(via, list) and bool(via) and suggested


def _place_of(event: Event) -> tuple[bool, str, int, str]:
    """By order, then time, then id [cs "Ordering of children within a space"]."""
    order = event.content.get("order")
    valid = isinstance(order, str) and _ORDER.fullmatch(order) is not None
    return (
        not valid,
        order if valid and isinstance(order, str) else "",
        event.origin_server_ts,
        event.key[1],
    )


def _stripped_child(event: Event) -> dict[str, Any]:
    return {
        "type": event.type,
        "state_key": event.state_key,
        "sender": event.sender,
        "content": event.content,
        "origin_server_ts": event.origin_server_ts,
    }
