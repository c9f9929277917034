"""What the authorization rules say to an event, short enough for a table."""

from collections.abc import Mapping

from homeserver.core.auth.rejection import Rejected
from homeserver.core.auth.rules import check_auth
from homeserver.core.auth.state import AuthState
from homeserver.core.event import Event, StateKey
from homeserver.core.room_versions import ROOM_VERSIONS, RoomVersion

OK = ""
ALL = tuple(ROOM_VERSIONS.values())


def since(first: int) -> tuple[RoomVersion, ...]:
    """The room versions from `first` on."""
    return ALL[first - 1 :]


def until(last: int) -> tuple[RoomVersion, ...]:
    """The room versions up to and with `last`."""
    return ALL[:last]


def verdict(event: Event, state: Mapping[StateKey, Event], *, authorizer_signed: bool = True) -> str:
    """OK, or the rule that refuses, as "v12 10.4"."""
    try:
        check_auth(event, AuthState(state, event.version), authorizer_signed=authorizer_signed)
    except Rejected as rejected:
        return short(rejected.rule)
    return OK


def short(rule: str) -> str:
    """ "rooms/v12 auth 10.4" as "v12 10.4"."""
    return rule.removeprefix("rooms/").replace(" auth", "")
