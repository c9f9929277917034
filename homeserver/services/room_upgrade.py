"""Replacing a room by one of another version [cs "Room upgrades"].

The new room is one commit, so it is there whole or not at all. Then the old one is closed; what fails of that (the
user may not change it) leaves two working rooms that know each other.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from attrs import frozen

from homeserver.core.errors import MatrixError, forbidden, not_found
from homeserver.core.event import Event, StateKey
from homeserver.core.event_build import Draft
from homeserver.core.power_levels import power_levels
from homeserver.core.room_founding import CREATE, POWER_LEVELS, StateDraft
from homeserver.core.room_replacing import (
    Replacement,
    copied_lists,
    copied_state,
    create_content,
    raised_levels,
)
from homeserver.services.member_content import MemberContents
from homeserver.services.now import now_ms
from homeserver.services.room_creation import RoomCreation
from homeserver.services.room_heads import Head
from homeserver.services.timeline import Timeline
from storage import current_events, directory
from storage.rooms import Room
from storage.state_keys import user_key

log = structlog.get_logger(__name__)

# From the event that there is to the content that is wanted; None: leave it.
Change = Callable[[Event], Mapping[str, Any] | None]
COPIED_AT_ONCE = 64  # bans and children in one step
CANONICAL_ALIAS = ("m.room.canonical_alias", "")


@frozen
class RoomUpgrade:
    """Makes successors of rooms."""

    timeline: Timeline
    creation: RoomCreation
    contents: MemberContents

    async def upgrade(self, new: Replacement) -> str:
        """The id of the room that replaces the old one."""
        old, state = await self._state(new)
        _require_power(new.user_id, state, old)
        if new.version.room_id_is_create_hash:
            room_id = await self._begin(new, state)
            await self._bury(new, room_id)
        else:
            room_id = self.creation.new_room_id()
            tombstone_id = await self._bury(new, room_id)
            await self._begin(new, state, room_id=room_id, tombstone_id=tombstone_id)
        await self._copy_lists(new, room_id, copied_lists(state)[COPIED_AT_ONCE:])
        await self._move_listing(old, room_id)
        await self._close(new, CANONICAL_ALIAS, lambda event: {} if event.content else None)
        await self._close(new, POWER_LEVELS, lambda event: raised_levels(event.content, old.version))
        return room_id

    async def _state(self, new: Replacement) -> tuple[Room, dict[StateKey, Event]]:
        """The whole state of the old room: some of it goes along."""
        try:
            room = (await self.timeline.head(new.old_room_id)).room
        except MatrixError as cause:
            raise not_found("No such room") from cause
        async with self.timeline.writing.database.read() as conn:
            whole = await current_events.whole(conn, self.timeline.writing.reader, room.nid)
        return room, {stored.event.key: stored.event for stored in whole}

    async def _begin(
        self,
        new: Replacement,
        state: dict[StateKey, Event],
        *,
        room_id: str | None = None,
        tombstone_id: str | None = None,
    ) -> str:
        profiles = await self.contents.profiles([new.user_id])
        return await self.creation.begin(
            new.version,
            new.user_id,
            [
                (CREATE, create_content(state, new, tombstone_id)),
                (user_key(new.user_id), {**profiles.get(new.user_id, {}), "membership": "join"}),
                *copied_lists(state)[:COPIED_AT_ONCE],
                *copied_state(state, new),
            ],
            room_id=room_id,
        )

    async def _copy_lists(self, new: Replacement, room_id: str, left: Sequence[StateDraft]) -> None:
        """Bans and children that were too many for the room's first step."""
        for start in range(0, len(left), COPIED_AT_ONCE):
            part = left[start : start + COPIED_AT_ONCE]
            drafts = [Draft(key[0], new.user_id, content, now_ms(), room_id, key[1]) for key, content in part]
            await self.timeline.change(room_id, (), lambda _, drafts=drafts: drafts)  # type: ignore[misc]

    async def _bury(self, new: Replacement, room_id: str) -> str:
        content = {"body": "This room has been replaced", "replacement_room": room_id}
        draft = Draft("m.room.tombstone", new.user_id, content, now_ms(), new.old_room_id, "")
        return (await self.timeline.send(draft)).event.event_id

    async def _move_listing(self, old: Room, room_id: str) -> None:
        new = (await self.timeline.head(room_id)).room
        async with self.timeline.writing.database.transaction() as conn:
            await directory.move_aliases(conn, old.nid, new.nid)
            await directory.move_publication(conn, old.nid, new.nid)

    async def _close(self, new: Replacement, key: StateKey, change: Change) -> None:
        """Change the old room's state, if the user may."""

        def decide(head: Head) -> list[Draft]:
            event = head.event(key)
            content = None if event is None else change(event)
            if content is None:
                return []
            return [Draft(key[0], new.user_id, content, now_ms(), new.old_room_id, "")]

        try:
            await self.timeline.change(new.old_room_id, [key], decide)
        except MatrixError as refusal:
            log.info("a replaced room stays as it is", room=new.old_room_id, why=str(refusal))


def _require_power(user_id: str, state: dict[StateKey, Event], room: Room) -> None:
    """Only who may send a tombstone replaces a room [cs "Room upgrades"]."""
    member = state.get(user_key(user_id))
    levels = power_levels(state.get(POWER_LEVELS), state.get(CREATE), room.version)
    if member is None or member.membership != "join":
        raise forbidden("You are not in this room")
    if not levels.may_send(user_id, "m.room.tombstone", is_state=True):
        raise forbidden("You may not replace this room")
