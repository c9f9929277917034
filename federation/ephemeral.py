"""What passes by in rooms, from other servers: who types, how far who has read, who is online.

A server speaks for its own users only, and of rooms only where they are members and the room lets the server take
part [ss "Typing Notifications", "Receipts", "Presence"].
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import structlog
from attrs import frozen

from federation.admission import Admission
from federation.early_presence import EarlyPresence
from homeserver.core.errors import MatrixError, bad_json, forbidden
from homeserver.core.ids import domain_of, is_event_id, is_room_id, is_user_id
from homeserver.core.presence import ONLINE, STATES
from homeserver.services.now import now_ms
from homeserver.services.presence import Told
from homeserver.services.receipts import MAIN, READ, Mark, Read, Receipts
from homeserver.services.typing import TypingService
from homeserver.web import fields
from storage.residences import joined_members
from storage.rooms import Room

log = structlog.get_logger(__name__)

TYPING_TIMEOUT = 60_000  # milliseconds; who goes on typing is announced again before that
MAX_USERS = 1_000  # of one EDU


@frozen
class TypingEdus:
    """m.typing"""

    admission: Admission
    typing: TypingService

    async def __call__(self, origin: str, content: Mapping[str, Any]) -> None:
        """Somebody of theirs types, or no longer."""
        room_id, user_id = fields.required(content, "room_id", str), fields.required(content, "user_id", str)
        typing = fields.required(content, "typing", bool)
        _require_own(origin, user_id)
        room = await _open_room(self.admission, origin, room_id)
        async with self.admission.database.read() as conn:
            user_nid = (await joined_members(conn, room.nid, [user_id])).get(user_id)
        if user_nid is None:
            raise forbidden(f"{user_id} is not in {room_id}")
        if typing:
            await self.typing.begin(room.nid, user_nid, TYPING_TIMEOUT)
        else:
            await self.typing.stop(room.nid, user_nid)


@frozen
class ReceiptEdus:
    """m.receipt"""

    admission: Admission
    receipts: Receipts

    async def __call__(self, origin: str, contents: Sequence[Mapping[str, Any]]) -> None:
        """How far some of theirs have read in some rooms; what is malformed in it is left out."""
        group: dict[str, Any] = {}
        for content in contents:
            if not group.keys().isdisjoint(content):
                # The same room once more: another thread, or a later word.
                await self._take(origin, group)
                group = {}
            group |= {room_id: content[room_id] for room_id in content if is_room_id(room_id)}
        await self._take(origin, group)

    async def _take(self, origin: str, listed: Mapping[str, Any]) -> None:
        """A commit for all of these rooms."""
        rooms = await self.admission.rooms(origin, list(listed))
        told: list[tuple[Room, list[Read]]] = []
        async with self.admission.database.read() as conn:
            for room_id, room in rooms.items():
                marks = dict(_marks(origin, listed[room_id])) if isinstance(room, Room) else {}
                if isinstance(room, Room) and marks:
                    members = await joined_members(conn, room.nid, marks)
                    told.append((room, [Read(members[user], *marks[user]) for user in members]))
        await self.receipts.take([(room, reads) for room, reads in told if reads])


@frozen
class PresenceEdus:
    """m.presence"""

    presences: EarlyPresence

    async def __call__(self, origin: str, content: Mapping[str, Any]) -> None:
        """Who of theirs is online; the last word on a user counts."""
        told: dict[str, Told] = {}
        for one in fields.required(content, "push", list)[:MAX_USERS]:
            try:
                told |= _presence(origin, one)
            except MatrixError as error:
                log.info("bad presence", origin=origin, reason=error.message)
        await self.presences.take(told)


async def _open_room(admission: Admission, origin: str, room_id: str) -> Room:
    if not is_room_id(room_id):
        raise bad_json("room_id must be a room id")
    room = (await admission.rooms(origin, [room_id]))[room_id]
    if not isinstance(room, Room):
        raise forbidden(f"{room_id}: {room.reason}")
    return room


def _require_own(origin: str, user_id: str) -> None:
    if not is_user_id(user_id) or domain_of(user_id) != origin:
        raise forbidden(f"{user_id[:255]!r} is not a user of {origin}")


def _marks(origin: str, listed: Any) -> Iterator[tuple[str, tuple[Mark, int]]]:
    """Users with what they have read and when; private receipts never leave a server, so there are none."""
    users = listed.get(READ) if isinstance(listed, dict) else None
    if not isinstance(users, dict):
        return
    for user_id, receipt in list(users.items())[:MAX_USERS]:
        if is_user_id(user_id) and domain_of(user_id) == origin and (mark := _mark(receipt)) is not None:
            yield user_id, mark


def _mark(receipt: Any) -> tuple[Mark, int] | None:
    """The newest event of the receipt, its thread, its time."""
    data = receipt.get("data") if isinstance(receipt, dict) else None
    event_ids = receipt.get("event_ids") if isinstance(receipt, dict) else None
    if not isinstance(data, dict) or not isinstance(event_ids, list):
        return None
    named = [event_id for event_id in event_ids if is_event_id(event_id)]
    thread_id, ts = data.get("thread_id", ""), data.get("ts")
    if not named or not (thread_id in ("", MAIN) or is_event_id(thread_id)):
        return None
    told = ts if type(ts) is int and 0 <= ts <= now_ms() else now_ms()
    return Mark(READ, named[-1], thread_id), told


def _presence(origin: str, one: Any) -> dict[str, Told]:
    if not isinstance(one, dict):
        raise bad_json("push must hold objects")
    user_id, state = fields.required(one, "user_id", str), fields.required(one, "presence", str)
    _require_own(origin, user_id)
    if state not in STATES:
        raise bad_json(f"unknown presence {state[:32]!r}")
    ago = fields.optional(one, "last_active_ago", int, 0)
    status, active = fields.optional(one, "status_msg", str), one.get("currently_active") is True
    return {user_id: Told(state, status, max(0, now_ms() - max(ago, 0)), active and state == ONLINE)}
