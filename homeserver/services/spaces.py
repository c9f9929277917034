"""The rooms below a space, in the order in which one would read them [cs "Querying rooms within a space"].

Each level of the tree is read at once, as deep as was asked for; then the tree is walked depth first. Of rooms that we
are not in, the servers that the space names are asked.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen

from homeserver.core.errors import forbidden, not_found
from homeserver.core.event import Event
from homeserver.core.membership import INVITE, JOIN, KNOCK
from homeserver.services.room_access import Visitor
from homeserver.services.room_summaries import RoomSummaries
from storage import memberships, spaces
from storage.database import Connection
from storage.room_batches import MEMBERSHIPS
from storage.rooms import Room

MAX_ROOMS = 1_000  # of one tree
MAX_DEPTH = 20
MAX_ASKED = 50  # rooms of one tree that other servers are asked about
ASKED_AT_ONCE = 8
_ORDER = re.compile(r"[\x20-\x7e]{1,50}")
_OPEN = ("public", "knock", "knock_restricted")

Form = Mapping[str, Any]  # a room's summary as JSON


@frozen
class Told:
    """What another server tells of a space: the room with `children_state`, and the rooms below it."""

    room: Form
    children: Sequence[Form]
    inaccessible: Sequence[str]


# Asked with a room id, servers that may know the room, and whether only suggested children are wanted.
AskElsewhere = Callable[[str, Sequence[str], bool], Awaitable[Told | None]]


async def nobody_tells(room_id: str, via: Sequence[str], suggested_only: bool) -> None:
    """Where there is no way to ask other servers."""


@frozen
class Branch:
    """A room that may be told of, and its children in order as stripped state."""

    form: Form
    children: Sequence[Form] = ()


@define(eq=False)
class Tree:
    """What was read of a space so far. `hints`: rooms that another server told of before they were reached."""

    suggested_only: bool
    branches: dict[str, Branch] = field(factory=dict)
    seen: set[str] = field(factory=set)
    hints: dict[str, Form] = field(factory=dict)
    asked: int = 0

    def walk(self, root: str, depth: int) -> list[dict[str, Any]]:
        """The rooms, depth first, each once."""
        told: list[dict[str, Any]] = []
        seen: set[str] = set()
        waiting = [(root, 0)]
        while waiting:
            room_id, level = waiting.pop()
            if room_id in seen or room_id not in self.branches:
                continue
            seen.add(room_id)
            branch = self.branches[room_id]
            told.append({**branch.form, "children_state": list(branch.children)})
            if level < depth:
                waiting += [(child["state_key"], level + 1) for child in reversed(branch.children)]
        return told

    def below(self, room_ids: Iterable[str]) -> dict[str, Sequence[str]]:
        """The children of some rooms that were not looked at yet, with the servers that may know them."""
        children = [child for one in room_ids for child in self.branches[one].children]
        found = {child["state_key"]: _servers(child) for child in children}
        return {room_id: via for room_id, via in found.items() if room_id not in self.seen}


@frozen
class _Standing:
    """What decides of whether a visitor may know of rooms that we are not in."""

    pending: Collection[str]  # rooms the visitor is joined to, invited to, or knocks on
    joined: Collection[str]

    def admits(self, form: Form) -> bool:
        """[cs "Querying rooms within a space"]"""
        if form.get("join_rule", "invite") in _OPEN or form.get("world_readable") is True:
            return True
        allowed = form.get("allowed_room_ids")
        named = allowed if isinstance(allowed, list) else []
        return form.get("room_id") in self.pending or any(one in self.joined for one in named)


@frozen
class Spaces:
    """Reads hierarchies."""

    summaries: RoomSummaries
    ask_elsewhere: AskElsewhere = nobody_tells

    async def hierarchy(
        self, room_id: str, visitor: Visitor, *, depth: int, suggested_only: bool, via: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        """The space and the rooms below it that the visitor may know of."""
        tree, level = Tree(suggested_only), {room_id: via}
        for _ in range(min(depth, MAX_DEPTH) + 1):
            if not level or len(tree.branches) >= MAX_ROOMS:
                break
            tree.seen |= level.keys()
            level = tree.below(await self._level(tree, level, visitor))
        if room_id not in tree.branches:
            raise forbidden("You may not see this space")
        return tree.walk(room_id, depth)

    async def preview(self, room_id: str, via: Sequence[str], visitor: Visitor | None) -> dict[str, Any]:
        """The summary of a room that we are not in, as its servers tell it. Raises M_NOT_FOUND."""
        told = await self.ask_elsewhere(room_id, via, True)
        standing = _Standing((), ())
        if visitor is not None:
            async with self.summaries.database.read() as conn:
                standing = await self._standing(conn, visitor)
        if told is None or told.room.get("room_id") != room_id or not standing.admits(told.room):
            raise not_found("No such room")
        return {name: value for name, value in told.room.items() if name != "children_state"}

    async def children(
        self, conn: Connection, rooms: Iterable[Room], *, suggested_only: bool
    ) -> dict[str, list[dict[str, Any]]]:
        """room_id -> its children in order, as stripped state."""
        by_nid = {room.nid: room.room_id for room in rooms}
        found = await spaces.children(conn, self.summaries.reader, by_nid)
        return {
            by_nid[nid]: [
                _stripped_child(event)
                for event in sorted(
                    (one.event for one in stored if _is_child(one.event, suggested_only)), key=_place_of
                )
            ]
            for nid, stored in found.items()
        }

    async def _level(self, tree: Tree, level: Mapping[str, Sequence[str]], visitor: Visitor) -> list[str]:
        """One level into the tree; gives the rooms of it that may be told of."""
        async with self.summaries.database.read() as conn:
            rooms = await self.summaries.reader.rooms.by_ids(conn, sorted(level)[:MAX_ROOMS])
            ours = await self.summaries.of(conn, rooms)
            open_to = await self.summaries.open_to(conn, ours, visitor)
            told = [room for room in rooms if room.nid in open_to]
            below = await self.children(conn, told, suggested_only=tree.suggested_only)
            known = {ours[room.nid].room_id for room in rooms if room.nid in ours}
            unknown = {room_id: via for room_id, via in level.items() if room_id not in known}
            standing = await self._standing(conn, visitor) if unknown else _Standing((), ())
        for room in told:
            tree.branches[room.room_id] = Branch(ours[room.nid].full_form(), below.get(room.room_id, ()))
        await self._elsewhere(tree, unknown, standing)
        return [room_id for room_id in level if room_id in tree.branches]

    async def _standing(self, conn: Connection, visitor: Visitor) -> _Standing:
        names = {MEMBERSHIPS[name]: name for name in (JOIN, INVITE, KNOCK)}
        local = await memberships.local_memberships(conn, visitor.user_nid, memberships=list(names))
        rooms = await self.summaries.reader.rooms.by_nids(conn, [one.room_nid for one in local])
        ids = {one.room_nid: names[one.membership] for one in local}
        return _Standing(
            {room.room_id for room in rooms.values()},
            {room.room_id for nid, room in rooms.items() if ids[nid] == JOIN},
        )

    async def _elsewhere(self, tree: Tree, rooms: Mapping[str, Sequence[str]], standing: _Standing) -> None:
        """Rooms that we are not in: what is no space was told of with its parent, of a space its server is asked."""
        turn = asyncio.Semaphore(ASKED_AT_ONCE)

        async def ask(room_id: str, via: Sequence[str]) -> tuple[str, Told | None]:
            async with turn:
                return room_id, await self.ask_elsewhere(room_id, via, tree.suggested_only)

        wanted = []
        for room_id, via in rooms.items():
            hint = tree.hints.get(room_id)
            if hint is not None and hint.get("room_type") != "m.space":
                if standing.admits(hint):
                    tree.branches[room_id] = Branch(hint)
            elif via and tree.asked < MAX_ASKED:
                tree.asked += 1
                wanted.append(ask(room_id, via))
        for room_id, told in await asyncio.gather(*wanted):
            if told is not None:
                self._take(tree, room_id, told, standing)

    def _take(self, tree: Tree, room_id: str, told: Told, standing: _Standing) -> None:
        if told.room.get("room_id") != room_id or not standing.admits(told.room):
            return
        form = {name: value for name, value in told.room.items() if name != "children_state"}
        state = told.room.get("children_state")
        children = [child for child in state if _is_told_child(child)] if isinstance(state, list) else []
        tree.branches[room_id] = Branch(form, children)
        tree.hints |= {
            child["room_id"]: child for child in told.children if isinstance(child.get("room_id"), str)
        }
        tree.seen |= set(told.inaccessible)


def _is_told_child(child: Any) -> bool:
    """Is it the stripped state of a child that has not been removed?"""
    content = child.get("content") if isinstance(child, dict) else None
    named = isinstance(content, dict) and isinstance(child.get("state_key"), str)
    return named and child.get("type") == "m.space.child" and bool(_servers(child))


def _servers(child: Form) -> Sequence[str]:
    via = child["content"].get("via")
    return [server for server in via if isinstance(server, str)] if isinstance(via, list) else ()


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
