"""Who may do what in a room: the power levels event as numbers [cs "m.room.power_levels"].

Levels that cannot be read (rooms until v9 accept almost anything in a first power levels event) count against
the one who would profit: an unreadable requirement is above everyone, an unreadable user level below everyone.
"""

import math
import re
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from attrs import frozen

from homeserver.core.event import Event
from homeserver.core.room_versions import RoomVersion

Level = float  # an integer, or infinity of either sign

UNREACHABLE: Level = math.inf
_BELOW_EVERYONE: Level = -math.inf
_CREATOR_WITHOUT_EVENT = 100
_DEFAULTS: dict[str, Level] = {
    "users_default": 0,
    "events_default": 0,
    "state_default": 50,
    "ban": 50,
    "kick": 50,
    "redact": 50,
    "invite": 0,
}
NAMED_LEVELS = tuple(_DEFAULTS)
_NOTIFICATION_DEFAULT = 50  # [cs "m.room.power_levels"] notifications.room
_STRING_LEVEL = re.compile(
    r"\s*[+-]?[0-9]+\s*", re.ASCII
)  # [rooms/v1 "m.room.power_levels events accept values as strings"]


@frozen(eq=False)
class PowerLevels:
    """The levels in force: users', those that actions and event types need, and the creators above them all."""

    named: Mapping[str, Level]
    users: Mapping[str, Level]
    events: Mapping[str, Level]
    notifications: Mapping[str, Level]
    creators: frozenset[str]  # empty until v11: there a creator is a user with a level like any other

    def of(self, user_id: str) -> Level:
        """The user's level; infinite for creators since [rooms/v12 "Authorisation rules"]."""
        if user_id in self.creators:
            return math.inf
        level = self.users.get(user_id)
        return self.named["users_default"] if level is None else level

    def to_send(self, event_type: str, *, is_state: bool) -> Level:
        """The required power level of an event type [ss "Definitions"]."""
        level = self.events.get(event_type)
        if level is None:
            return self.named["state_default" if is_state else "events_default"]
        return level

    def may_send(self, user_id: str, event_type: str, *, is_state: bool) -> bool:
        """Has the user the level that the event type needs?"""
        return self.of(user_id) >= self.to_send(event_type, is_state=is_state)

    def may_notify(self, user_id: str, kind: str = "room") -> bool:
        """May the user notify the whole room by a mention of `kind`?"""
        return self.of(user_id) >= self.notifications.get(kind, _NOTIFICATION_DEFAULT)

    @property
    def invite(self) -> Level:
        """What inviting needs."""
        return self.named["invite"]

    @property
    def kick(self) -> Level:
        """What kicking needs; the target must also stand below the sender."""
        return self.named["kick"]

    @property
    def ban(self) -> Level:
        """What banning needs; the target must also stand below the sender."""
        return self.named["ban"]

    @property
    def redact(self) -> Level:
        """What redacting other people's events needs."""
        return self.named["redact"]


def power_levels(event: Event | None, create: Event | None, version: RoomVersion) -> PowerLevels:
    """The levels that `event` sets, or the defaults of a room without one; parsed once for each event object."""
    creators = _privileged_creators(create, version)
    if event is None:
        return _without_event(create, creators, version)
    known = _PARSED.get(event)
    if known is None or known.creators != creators:
        known = _PARSED[event] = _parse(event.content, creators, version)
    return known


def room_creators(create: Event, version: RoomVersion) -> frozenset[str]:
    """Who created the room: one user until v11, all of the named ones since [rooms/v12 "Authorisation rules"]."""
    if version.create_names_creator:
        creator = create.content.get("creator")  # until v10
        return frozenset([creator]) if isinstance(creator, str) else frozenset()
    additional = create.content.get("additional_creators") if version.privileged_creators else None
    named = [user for user in additional if isinstance(user, str)] if isinstance(additional, list) else []
    return frozenset([create.sender, *named])


def read_level(value: Any, version: RoomVersion) -> int | None:
    """A level as the room version allows it to be written; None where it is no level."""
    if type(value) is int:
        return value
    if version.integer_power_levels:
        return None  # since v10
    if isinstance(value, float) and math.isfinite(value):
        return int(value)  # [rooms/v1 "m.room.power_levels events accept values as floats"]
    if isinstance(value, str) and len(value) <= 300 and _STRING_LEVEL.fullmatch(value):
        return int(value)
    return None


_PARSED: WeakKeyDictionary[Event, PowerLevels] = WeakKeyDictionary()  # lives and dies with the events


def _privileged_creators(create: Event | None, version: RoomVersion) -> frozenset[str]:
    if create is None or not version.privileged_creators:
        return frozenset()
    return room_creators(create, version)


def _without_event(create: Event | None, creators: frozenset[str], version: RoomVersion) -> PowerLevels:
    """In a room without the event its creator has level 100, the others 0 [cs "m.room.power_levels"]."""
    founders = room_creators(create, version) if create is not None else frozenset()
    return PowerLevels(_DEFAULTS, dict.fromkeys(founders, _CREATOR_WITHOUT_EVENT), {}, {}, creators)


def _parse(content: Mapping[str, Any], creators: frozenset[str], version: RoomVersion) -> PowerLevels:
    named = dict(_DEFAULTS)
    for name in NAMED_LEVELS:
        if name in content:
            unreadable = _BELOW_EVERYONE if name == "users_default" else UNREACHABLE
            named[name] = _level(content[name], version, unreadable)
    return PowerLevels(
        named=named,
        users=_levels(content.get("users"), version, _BELOW_EVERYONE),
        events=_levels(content.get("events"), version, UNREACHABLE),
        notifications=_levels(content.get("notifications"), version, UNREACHABLE),
        creators=creators,
    )


def _levels(section: Any, version: RoomVersion, unreadable: Level) -> dict[str, Level]:
    if not isinstance(section, dict):
        return {}
    return {key: _level(value, version, unreadable) for key, value in section.items()}


def _level(value: Any, version: RoomVersion, unreadable: Level) -> Level:
    level = read_level(value, version)
    return unreadable if level is None else level
