"""Makes people findable who are in rooms here, wherever they live [cs "User Directory"]."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from homeserver.core.ids import localpart_of
from homeserver.core.search_words import endings
from storage import user_directory as rows
from storage.database import Connection
from storage.following import NewEvent
from storage.user_directory import Person

MEMBER, JOIN_RULES, VISIBILITY = "m.room.member", "m.room.join_rules", "m.room.history_visibility"
TYPES = (MEMBER, JOIN_RULES, VISIBILITY)
AT_ONCE = 500


async def take_people(conn: Connection, events: Sequence[NewEvent]) -> None:
    """Look anew at those whose membership or name changed, and at rooms that opened or closed."""
    members = {event.key_nid for event in events if event.type == MEMBER and event.key_nid is not None}
    entered = {event.room_nid for event in events if event.founds and event.type == MEMBER}
    ruled = {event.room_nid for event in events if event.type != MEMBER} | entered
    if ruled:
        await rows.look_at_rooms(conn, list(ruled))
    if entered:  # whoever was there before us is in no timeline of ours
        members |= set(await rows.unlisted_members(conn, list(entered)))
    await look_at(conn, members)


async def look_at(conn: Connection, user_nids: Iterable[int]) -> None:
    """List people as they are now; who is in no room is listed no more."""
    wanted = list(user_nids)
    for start in range(0, len(wanted), AT_ONCE):
        part = wanted[start : start + AT_ONCE]
        people = [_listed(*row) for row in await rows.people_in_rooms(conn, part)]
        await rows.list_people(conn, people, part)


def _listed(user_nid: int, user_id: str, profile: dict[str, Any] | None, member: bytes | None) -> Person:
    """Ours are called what their profile says, others what they are called in a room."""
    if profile is None:
        content = orjson.loads(member).get("content", {}) if member else {}
        profile = content if isinstance(content, dict) else {}
    name, avatar = _text(profile.get("displayname")), _text(profile.get("avatar_url"))
    return Person(user_nid, user_id, name, avatar, endings(f"{user_id} {localpart_of(user_id)} {name or ''}"))


def _text(value: Any) -> str | None:
    return value[:256] if isinstance(value, str) and value and "\0" not in value else None
