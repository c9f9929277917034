"""Authorization of changes of the power levels [rooms/v12 auth 10]."""

from collections.abc import Iterator, Mapping
from typing import Any

from homeserver.core.auth.rejection import Rejected, reject_if
from homeserver.core.auth.state import POWER_LEVELS, AuthState
from homeserver.core.event import Event
from homeserver.core.ids import is_user_id
from homeserver.core.power_levels import NAMED_LEVELS, UNREACHABLE, Level, read_level
from homeserver.core.room_versions import RoomVersion

_Change = tuple[str, Level | None, Level | None]  # key, current value, new value; None where there is none


def check_power_levels(event: Event, state: AuthState) -> None:
    """May `event` replace the room's power levels?"""
    _check_shape(event.content, state.version)
    users = event.content.get("users", {})
    if state.version.privileged_creators:
        given = state.creators.intersection(users)
        reject_if(bool(given), "rooms/v12 auth 10.4", "creators cannot be given a level")
    current = state.events.get(POWER_LEVELS)
    if current is None:
        return  # [rooms/v12 auth 10.5]
    own = state.power_levels.of(event.sender)
    _check_named(current.content, event.content, own, state.version)
    _check_sections(current.content, event.content, own, state.version)
    changes = _changes(current.content.get("users"), users, state.version)
    _check_users(changes, event.sender, own)
    # otherwise allow [rooms/v12 auth 10.11], the second of two rules numbered 10.10


def _check_shape(content: Mapping[str, Any], version: RoomVersion) -> None:
    """Are the levels levels, and the users users? [rooms/v12 auth 10.1, 10.2, 10.3]"""
    if version.integer_power_levels:  # since v10
        named = all(type(content[name]) is int for name in NAMED_LEVELS if name in content)
        reject_if(not named, "rooms/v12 auth 10.1", "levels must be integers")
        for section in ("events", "notifications"):
            fine = section not in content or _holds_levels(content[section], version)
            reject_if(not fine, "rooms/v12 auth 10.2", f"{section} must be an object of integers")
    users = content.get("users", {})
    fine = _holds_levels(users, version) and all(map(is_user_id, users))
    reject_if(not fine, "rooms/v12 auth 10.3", "users must be an object of user ids and levels")


def _holds_levels(section: Any, version: RoomVersion) -> bool:
    if not isinstance(section, dict):
        return False
    return all(read_level(value, version) is not None for value in section.values())


def _check_named(
    current: Mapping[str, Any], new: Mapping[str, Any], own: Level, version: RoomVersion
) -> None:
    """`ban`, `kick`, … [rooms/v12 auth 10.6]"""
    old_levels = {name: current[name] for name in NAMED_LEVELS if name in current}
    new_levels = {name: new[name] for name in NAMED_LEVELS if name in new}
    for name, old_level, new_level in _changes(old_levels, new_levels, version):
        reject_if(_above(old_level, own), "rooms/v12 auth 10.6.1", f"the level of {name} is above the sender")
        reject_if(
            _above(new_level, own), "rooms/v12 auth 10.6.2", f"the new level of {name} is above the sender"
        )


def _check_sections(
    current: Mapping[str, Any], new: Mapping[str, Any], own: Level, version: RoomVersion
) -> None:
    """`events`, and since v6 `notifications` [rooms/v12 auth 10.7, 10.8]"""
    for section in ("events", "notifications") if version.limit_notification_levels else ("events",):
        for key, old_level, new_level in _changes(current.get(section), new.get(section), version):
            what = f"level of {section} {key}"
            reject_if(_above(old_level, own), "rooms/v12 auth 10.7.1", f"the {what} is above the sender")
            reject_if(_above(new_level, own), "rooms/v12 auth 10.8.1", f"the new {what} is above the sender")


def _check_users(changes: Iterator[_Change], sender: str, own: Level) -> None:
    """Nobody touches an equal, and nobody lifts above himself [rooms/v12 auth 10.9, 10.10]"""
    for user_id, old_level, new_level in changes:
        if old_level is not None and user_id != sender and old_level >= own:
            raise Rejected("rooms/v12 auth 10.9.1", f"{user_id} is not below the sender")
        reject_if(_above(new_level, own), "rooms/v12 auth 10.10.1", f"{user_id} would be above the sender")


def _changes(current: Any, new: Any, version: RoomVersion) -> Iterator[_Change]:
    """The entries that differ in meaning. A section that is no object has no entries."""
    current = current if isinstance(current, dict) else {}
    new = new if isinstance(new, dict) else {}
    for key in current.keys() | new.keys():
        old_level, new_level = _level(current, key, version), _level(new, key, version)
        if old_level != new_level:
            yield key, old_level, new_level


def _level(section: Mapping[str, Any], key: str, version: RoomVersion) -> Level | None:
    """None where the entry is absent; out of reach where it cannot be read."""
    if key not in section:
        return None
    level = read_level(section[key], version)
    return UNREACHABLE if level is None else level


def _above(level: Level | None, own: Level) -> bool:
    return level is not None and level > own
