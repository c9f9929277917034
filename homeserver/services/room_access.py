"""What one user may see of one room [cs "Room history visibility"].

Members see the room as it is. Who has left sees it as it was then. Others see rooms that are readable by the world. For
everybody, each event of the timeline is then held against the history visibility at that event.
"""

from collections.abc import Mapping, Sequence

from attrs import frozen

from homeserver.core.errors import forbidden
from homeserver.core.event import StateKey
from homeserver.core.visibility import WORLD_READABLE, Facts, may_see_event
from homeserver.services.client_events import Audience, memberships_at
from homeserver.services.histories import Histories, load_histories
from storage import current_events, memberships, room_state
from storage.database import Connection
from storage.events import EventReader, StoredEvent
from storage.room_batches import MEMBERSHIP_NAMES
from storage.rooms import Room
from storage.state_keys import StateKeys

HISTORY_VISIBILITY: StateKey = ("m.room.history_visibility", "")
NOT_IN_ROOM = "You are not in this room"
_MAX_SP = 2**31 - 1


@frozen
class Visitor:
    """Who reads."""

    user_id: str
    user_nid: int
    device_nid: int | None = None

    @property
    def audience(self) -> Audience:
        """The reader by number."""
        return Audience(self.user_nid, self.device_nid)


@frozen
class View:
    """A room as its visitor sees it. `until`: the event by which they left; nothing after it is theirs to see."""

    room: Room
    visitor: Visitor
    membership: str | None
    until: StoredEvent | None = None

    @property
    def until_position(self) -> int | None:
        """The last position that may be seen; None: all."""
        return self.until.position if self.until is not None else None

    @property
    def until_sp(self) -> int | None:
        """The last state that may be seen; None: the current one."""
        return self.until.line_sp if self.until is not None else None


@frozen
class Seen:
    """Events that a visitor may see, and their membership at each, by event number."""

    events: list[StoredEvent]
    memberships: Mapping[int, str]


@frozen
class RoomAccess:
    """Lets visitors in, and shows them what is theirs to see."""

    reader: EventReader
    state_keys: StateKeys

    async def view(self, conn: Connection, room_id: str, visitor: Visitor) -> View:
        """The visitor's view; M_FORBIDDEN also for rooms that do not exist."""
        room = await self.reader.rooms.find(conn, room_id)
        if room is None:
            raise forbidden(NOT_IN_ROOM)
        local = await memberships.local_membership(conn, visitor.user_nid, room.nid)
        membership = MEMBERSHIP_NAMES[local.membership] if local is not None else None
        if membership == "join" or await self.is_world_readable(conn, room):
            return View(room, visitor, membership)
        if local is None or local.forgotten:
            raise forbidden(NOT_IN_ROOM)
        view = await self.former(conn, room, visitor, membership)
        if view is None:
            raise forbidden(NOT_IN_ROOM)
        return view

    async def former(
        self, conn: Connection, room: Room, visitor: Visitor, membership: str | None
    ) -> View | None:
        """The room as somebody sees it who has left it; None: they were never in it."""
        until = await self._departure(conn, room, visitor)
        return None if until is None else View(room, visitor, membership, until)

    async def joined(self, conn: Connection, room_id: str, visitor: Visitor) -> Room:
        """The room, for members only."""
        view = await self.view(conn, room_id, visitor)
        if view.membership != "join":
            raise forbidden(NOT_IN_ROOM)
        return view.room

    async def is_world_readable(self, conn: Connection, room: Room) -> bool:
        """May everybody read the room now?"""
        state = await current_events.of_keys(conn, self.reader, room.nid, [HISTORY_VISIBILITY])
        stored = state.get(HISTORY_VISIBILITY)
        return stored is not None and stored.event.content.get("history_visibility") == WORLD_READABLE

    async def visible(self, conn: Connection, view: View, events: Sequence[StoredEvent]) -> list[StoredEvent]:
        """Those of the events that the visitor may see."""
        return (await self.seen(conn, view, events)).events

    async def seen(self, conn: Connection, view: View, events: Sequence[StoredEvent]) -> Seen:
        """The same, and the visitor's membership at each."""
        placed = [stored for stored in events if stored.state_sp is not None]
        if not placed:
            return Seen([], {})
        keys = await self.state_keys.find(conn, [HISTORY_VISIBILITY])
        visibility_nid = keys.get(HISTORY_VISIBILITY, 0)
        member_nid = view.visitor.user_nid
        histories = await load_histories(conn, self.reader, placed, [visibility_nid, member_nid])
        until = view.until_position
        visible = [
            stored
            for stored in placed
            if (until is None or stored.position is None or stored.position <= until)
            and may_see_stored(stored, histories, visibility_nid, member_nid)
        ]
        return Seen(visible, memberships_at(histories, visible, member_nid))

    async def _departure(self, conn: Connection, room: Room, visitor: Visitor) -> StoredEvent | None:
        """The event that ended the visitor's last stay in the room."""
        entries = await room_state.history(conn, room.nid, [visitor.user_nid], 0, _MAX_SP)
        found = await self.reader.by_nids(conn, [nid for _, _, nid in entries if nid is not None])
        own = [found.get(nid) if nid is not None else None for _, _, nid in entries]
        stays = [index for index, one in enumerate(own) if one is not None and one.event.membership == "join"]
        return own[stays[-1] + 1] if stays and stays[-1] + 1 < len(own) else None


def may_see_stored(stored: StoredEvent, histories: Histories, visibility_nid: int, member_nid: int) -> bool:
    """May a user see an event, by what the histories say about the visibility and their membership?"""
    history = histories.of(stored.room.nid, member_nid)
    later = history.changes_after(stored.state_sp or 0)
    if _is_history(stored):
        later = (
            history.at(stored.state_sp or 0),
            *later,
        )  # what we were told when we came is later than history
    return may_see_event(
        Facts(
            _content(histories.before(stored, visibility_nid), "history_visibility"),
            _content(histories.after(stored, visibility_nid), "history_visibility"),
        ),
        Facts(
            _content(histories.before(stored, member_nid), "membership"),
            _content(histories.after(stored, member_nid), "membership"),
        ),
        joined_later=any(_content(entry, "membership") == "join" for entry in later),
    )


def _is_history(stored: StoredEvent) -> bool:
    """Was the event fetched later than what came after it?"""
    told = stored.overlay_nid is not None and stored.line_sp == stored.state_sp
    return told or (stored.position is not None and stored.position < 0)


def _content(entry: StoredEvent | None, name: str) -> object:
    return None if entry is None else entry.event.content.get(name)
