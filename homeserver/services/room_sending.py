"""What members say in a room: messages, state, redactions [cs "Sending events to a room"].

The rooms' rules are the writer's concern; here stands what only the client API demands of an event.
"""

from attrs import frozen

from homeserver.core.auth.state import CREATE, POWER_LEVELS
from homeserver.core.errors import MatrixError, bad_json, forbidden, invalid_param, not_found, user_suspended
from homeserver.core.event_build import Draft
from homeserver.core.ids import is_event_id
from homeserver.core.membership import JOIN, MEMBERSHIPS
from homeserver.core.power_levels import power_levels
from homeserver.core.state_content import check_member_content, check_state_content, named_aliases
from homeserver.services.growth import Once
from homeserver.services.member_content import Move
from homeserver.services.membership import GUEST_ACCESS, Memberships
from homeserver.services.room_heads import Head
from homeserver.services.timeline import Timeline
from storage.current_events import of_keys
from storage.directory import find_aliases
from storage.events import StoredEvent
from storage.rooms import Room
from storage.server_notices import notice_room_of
from storage.state_keys import user_key

REDACTION = "m.room.redaction"
TOMBSTONE = "m.room.tombstone"


@frozen
class RoomSending:
    """Adds what users say; each method gives the event's id."""

    timeline: Timeline
    memberships: Memberships

    async def send(self, draft: Draft, *, once: Once | None = None) -> str:
        """A message event, or a redaction sent like one."""
        room = await self._room(draft)
        if draft.type == TOMBSTONE:  # clients do not look whether it is state
            check_state_content(draft, room.version)
        if draft.type == REDACTION:
            return await self.redact(draft, once=once)
        return (await self.timeline.send(draft, once=once)).event.event_id

    async def check_suspended(self, draft: Draft) -> None:
        """A suspended user may take back what they said, and answer the operator [cs "Account suspension"]."""
        if draft.type == REDACTION:
            target_id = draft.content.get("redacts")
            target = (
                await self._target(await self._room(draft), target_id) if isinstance(target_id, str) else None
            )
            if target is not None and target.event.sender == draft.sender:
                return
        elif await self._is_notice_room(draft):
            return
        raise user_suspended()

    async def redact(self, draft: Draft, *, once: Once | None = None) -> str:
        """One's own event, or with the power to do so somebody else's [cs "Redactions"]."""
        room = await self._room(draft)
        target_id = draft.content.get("redacts")
        if not isinstance(target_id, str) or not is_event_id(target_id):
            raise bad_json("content.redacts must be the id of the event to redact")
        target = await self._target(room, target_id)
        made = await self.timeline.send(
            draft,
            once=once,
            keys=[POWER_LEVELS, CREATE, user_key(draft.sender)],
            allow=lambda head: _check_redaction(draft, target, head),
        )
        return made.event.event_id

    async def set_state(self, draft: Draft, *, is_guest: bool = False, once: Once | None = None) -> str:
        """A state event; what is said already is not said again. Memberships need no `once`."""
        room = await self._room(draft)
        assert draft.state_key is not None
        if draft.type == "m.room.member":
            return await self._set_member(draft, is_guest=is_guest)
        if draft.type == REDACTION:
            raise forbidden(
                "A redaction is no state"
            )  # as state it would not be held against its target's sender
        check_state_content(draft, room.version)
        await self._check_aliases(draft, room)
        key = (draft.type, draft.state_key)
        current: list[str] = []

        def decide(head: Head) -> list[Draft]:
            before = head.event(key)
            current.clear()
            if before is None or before.sender != draft.sender or before.content != draft.content:
                return [draft]
            _require_joined(draft.sender, head)
            current.append(before.event_id)
            return []

        keys = [key, user_key(draft.sender)]
        if once is None:
            made = await self.timeline.change(room.room_id, keys, decide)
        else:
            made = await self.timeline.change_once(room, keys, decide, once)
        if made and key == GUEST_ACCESS and draft.content.get("guest_access") != "can_join":
            await self.memberships.leave_guests(room)
        return made[0].event.event_id if made else current[0]

    async def _set_member(self, draft: Draft, *, is_guest: bool) -> str:
        """A membership, set as state."""
        content = dict(draft.content)
        membership = content.pop("membership", None)
        if not isinstance(membership, str) or membership not in MEMBERSHIPS:
            raise bad_json("content.membership must be a membership")
        check_member_content(content)
        assert draft.room_id is not None
        assert draft.state_key is not None
        move = Move(
            room_id=draft.room_id,
            sender=draft.sender,
            target=draft.state_key,
            membership=membership,
            extra=content,
            ts=draft.origin_server_ts,
        )
        if membership == JOIN and move.sender == move.target:
            made = await self.memberships.enter(move, is_guest=is_guest)
        else:
            made = await self.memberships.make(move, lambda before: True)
        return made.event.event_id if made is not None else await self._current_id(draft)

    async def _current_id(self, draft: Draft) -> str:
        """The event that says already what the draft wanted to say."""
        room, key = await self._room(draft), (draft.type, draft.state_key or "")
        async with self.timeline.writing.database.read() as conn:
            return (await of_keys(conn, self.timeline.writing.reader, room.nid, [key]))[key].event.event_id

    async def _room(self, draft: Draft) -> Room:
        """The room of a draft; who may not see it does not learn whether it exists."""
        try:
            return (await self.timeline.head(draft.room_id)).room
        except MatrixError as cause:
            raise forbidden("You are not in this room") from cause

    async def _is_notice_room(self, draft: Draft) -> bool:
        async with self.timeline.writing.database.read() as conn:
            return await notice_room_of(conn, draft.sender) == draft.room_id

    async def _target(self, room: Room, event_id: str) -> StoredEvent | None:
        async with self.timeline.writing.database.read() as conn:
            target = await self.timeline.writing.reader.by_id(conn, event_id)
        if target is not None and target.room.nid != room.nid:
            raise invalid_param("The event to redact is in another room")
        return target

    async def _check_aliases(self, draft: Draft, room: Room) -> None:
        """Aliases that a canonical alias event adds must lead here [cs "m.room.canonical_alias"]."""
        if draft.type != "m.room.canonical_alias" or draft.state_key != "":
            return
        named = named_aliases(draft.content)
        async with self.timeline.writing.database.read() as conn:
            before = await of_keys(conn, self.timeline.writing.reader, room.nid, [(draft.type, "")])
            kept = named_aliases(before[draft.type, ""].event.content) if before else set()
            found = await find_aliases(conn, named - kept)
        for alias in named - kept:
            if alias not in found or found[alias].room_nid != room.nid:
                raise MatrixError(400, "M_BAD_ALIAS", f"{alias} does not lead to this room")


def _check_redaction(draft: Draft, target: StoredEvent | None, head: Head) -> None:
    """Own events, or the level to redact; only the room's version 3 and later leave this to us."""
    _require_joined(draft.sender, head)
    if target is not None and target.event.sender == draft.sender:
        return
    levels = power_levels(head.event(POWER_LEVELS), head.event(CREATE), head.room.version)
    if levels.of(draft.sender) < levels.redact:
        raise not_found("No such event") if target is None else forbidden("You may not redact this event")


def _require_joined(user_id: str, head: Head) -> None:
    member = head.event(user_key(user_id))
    if member is None or member.membership != JOIN:
        raise forbidden("You are not in this room")
