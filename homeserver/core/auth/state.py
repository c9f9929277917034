"""The few events of a room's state that the authorization rules read, as typed answers."""

from collections.abc import Mapping
from functools import cached_property

from attrs import frozen

from homeserver.core.event import Event, StateKey
from homeserver.core.power_levels import PowerLevels, power_levels, room_creators
from homeserver.core.room_versions import RoomVersion

CREATE: StateKey = ("m.room.create", "")
POWER_LEVELS: StateKey = ("m.room.power_levels", "")
JOIN_RULES: StateKey = ("m.room.join_rules", "")


@frozen(eq=False)
class AuthState:
    """A view on `events`, which need only hold what `auth_events_selection` names for the event in question.

    Nothing is read before a rule asks for it, and what was read is kept: make one for each state and use it for
    as many events as that state judges. `events` must not change while the view is in use.
    """

    events: Mapping[StateKey, Event]
    version: RoomVersion

    @cached_property
    def create(self) -> Event | None:
        """The room's create event."""
        return self.events.get(CREATE)

    @cached_property
    def power_levels(self) -> PowerLevels:
        """The levels in force, by the power levels event or without one."""
        return power_levels(self.events.get(POWER_LEVELS), self.create, self.version)

    @cached_property
    def creators(self) -> frozenset[str]:
        """The room's creators, privileged or not."""
        return room_creators(self.create, self.version) if self.create is not None else frozenset()

    @cached_property
    def join_rule(self) -> object:
        """The join rule as it is written; "invite" where there is none [cs "m.room.join_rules"]."""
        event = self.events.get(JOIN_RULES)
        return "invite" if event is None else event.content.get("join_rule", "invite")

    def membership(self, user_id: str) -> str | None:
        """The user's membership; None where there never was one."""
        event = self.events.get(("m.room.member", user_id))
        return None if event is None else event.membership
