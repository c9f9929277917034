"""What a room takes along when it is replaced by a newer one [cs "Room upgrades"]. Pure: state in, state out."""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from homeserver.core.event import Event, StateKey
from homeserver.core.ids import is_user_id
from homeserver.core.power_levels import NAMED_LEVELS, power_levels, read_level, room_creators
from homeserver.core.room_founding import CREATE, POWER_LEVELS, StateDraft
from homeserver.core.room_versions import RoomVersion

_COPIED = tuple(
    (f"m.room.{kind}", "")
    for kind in (
        "name",
        "topic",
        "avatar",
        "encryption",
        "server_acl",
        "guest_access",
        "history_visibility",
        "canonical_alias",
    )
)
GUEST_ACCESS = ("m.room.guest_access", "")
_LEVEL_SECTIONS = ("users", "events", "notifications")
_OWN_KEYS = ("room_version", "creator", "predecessor", "additional_creators")
CREATOR_LEVEL = 100
TOMBSTONE_LEVEL = 150


@frozen
class Replacement:
    """Who replaces which room, by what. `creators` are those beside the user, where the version knows them."""

    version: RoomVersion
    user_id: str
    old_room_id: str
    creators: tuple[str, ...] = ()


def create_content(
    state: Mapping[StateKey, Event], new: Replacement, tombstone_id: str | None
) -> dict[str, Any]:
    """The old room's create content, which names what it replaces."""
    kept = {name: value for name, value in state[CREATE].content.items() if name not in _OWN_KEYS}
    predecessor = {"room_id": new.old_room_id}
    if tombstone_id is not None:
        predecessor["event_id"] = tombstone_id
    content = {**kept, "room_version": new.version.name, "predecessor": predecessor}
    if new.version.create_names_creator:
        content["creator"] = new.user_id  # until v10
    if new.version.privileged_creators and new.creators:
        content["additional_creators"] = list(new.creators)  # since v12
    return content


def copied_state(state: Mapping[StateKey, Event], new: Replacement) -> list[StateDraft]:
    """What describes the new room. Levels come last: until then the creator may do everything."""
    drafts: list[StateDraft] = [(key, state[key].content) for key in _COPIED if key in state]
    if GUEST_ACCESS not in state:
        # COMPAT(SyTest, clients that wait for a replacement to be complete): what was left unsaid is said.
        drafts.append((GUEST_ACCESS, {"guest_access": "forbidden"}))
    rules = state.get(("m.room.join_rules", ""))
    if rules is not None:
        drafts.append((("m.room.join_rules", ""), join_rules_content(rules.content, new.version)))
    return [*drafts, (POWER_LEVELS, levels_content(state, new))]


def copied_lists(state: Mapping[StateKey, Event]) -> list[StateDraft]:
    """Who is banned stays banned; a space keeps its rooms. These can be many."""
    kept = [event for event in state.values() if event.type == "m.room.member" and event.membership == "ban"]
    kept += [event for event in state.values() if event.type == "m.space.child" and event.content.get("via")]
    return [(event.key, event.content) for event in kept]


def join_rules_content(content: Mapping[str, Any], version: RoomVersion) -> Mapping[str, Any]:
    """The same rule, or the nearest one that the version knows and that lets nobody else in."""
    known = {
        "public": True,
        "invite": True,
        "knock": version.knock,
        "restricted": version.restricted,
        "knock_restricted": version.knock_restricted,
    }
    return content if known.get(str(content.get("join_rule"))) else {"join_rule": "invite"}


def levels_content(state: Mapping[StateKey, Event], new: Replacement) -> dict[str, Any]:
    """The levels of the old room, such that the new room's version accepts them and its creators lead it."""
    event, create = state.get(POWER_LEVELS), state[CREATE]
    content = _readable(event.content, create.version) if event is not None else {}
    users = {user: level for user, level in content.get("users", {}).items() if is_user_id(user)}
    if new.version.privileged_creators:
        content["users"] = {user: level for user, level in users.items() if user not in _creators(new)}
        return _with_tombstone_level(content)
    # Who stood above all levels gets the highest one there is.
    highest = max([CREATOR_LEVEL, *users.values()])
    level = power_levels(event, create, create.version).of(new.user_id)
    above = room_creators(create, create.version) if create.version.privileged_creators else ()
    own = highest if level > highest else max(int(level), CREATOR_LEVEL if event is None else 0)
    content["users"] = {**users, **dict.fromkeys(above, highest), new.user_id: own}
    return content


def raised_levels(content: Mapping[str, Any], version: RoomVersion) -> dict[str, Any] | None:
    """Levels by which only moderators speak and invite in the replaced room; None where that is so already."""
    default = read_level(content.get("users_default", 0), version) or 0
    least = max(default + 1, 50)
    raised = {
        name: least
        for name in ("events_default", "invite")
        if (read_level(content.get(name, 0), version) or 0) < least
    }
    return {**content, **raised} if raised else None


def _creators(new: Replacement) -> set[str]:
    return {new.user_id, *new.creators}


def _with_tombstone_level(content: dict[str, Any]) -> dict[str, Any]:
    """Since v12 a tombstone needs more than other state [cs "Creation"]."""
    events = content.get("events", {})
    least = max(TOMBSTONE_LEVEL, content.get("state_default", 50) + 1)
    level = max(events.get("m.room.tombstone", least), least)
    return {**content, "events": {**events, "m.room.tombstone": level}}


def _readable(content: Mapping[str, Any], version: RoomVersion) -> dict[str, Any]:
    """Levels as integers; they were written as strings once, and what cannot be read is left out."""
    named = {name: read_level(content[name], version) for name in NAMED_LEVELS if name in content}
    levels: dict[str, Any] = {name: level for name, level in named.items() if level is not None}
    for section in _LEVEL_SECTIONS:
        if section not in content:
            continue
        given = content[section]
        read = (
            {name: read_level(level, version) for name, level in given.items()}
            if isinstance(given, dict)
            else {}
        )
        levels[section] = {name: level for name, level in read.items() if level is not None}
    return levels
