"""The state that introduces a room to somebody outside: is it of the room that it claims to be of?

Since version 12 a room's id is the hash of its create event, so a lie about the room shows, and every entry has to be
a signed event of that room. In older rooms entries may be in the stripped form, and what is odd is left out.
"""

from collections.abc import Sequence
from typing import Any

import structlog
from attrs import frozen

from federation.verify import PduChecks
from homeserver.core.auth.state import CREATE
from homeserver.core.errors import invalid_param
from homeserver.core.event import Event
from homeserver.core.receipt_checks import Dropped
from homeserver.core.room_versions import RoomVersion
from homeserver.services.growth import stripped
from homeserver.services.remote_rooms import stripped_of_events

log = structlog.get_logger(__name__)

MAX_ENTRIES = 50


@frozen
class InviteState:
    """Checks `invite_room_state` and `knock_room_state` [ss "Inviting to a room"]."""

    checks: PduChecks

    async def checked(self, state: Sequence[Any], room_id: str, version: RoomVersion) -> list[dict[str, Any]]:
        """The entries as stripped state. Raises M_INVALID_PARAM where the room's version allows no doubt."""
        if not version.room_id_is_create_hash:
            # "servers SHOULD warn … rather than error in room versions 1 through 11"
            found = stripped_of_events(state[:MAX_ENTRIES])
            if len(found) < len(state) or not any(item["type"] == CREATE[0] for item in found):
                log.warning(
                    "an invite shows its room badly", room_id=room_id, entries=len(state), usable=len(found)
                )
            return found
        if len(state) > MAX_ENTRIES:
            raise invalid_param(f"More than {MAX_ENTRIES} entries of invite_room_state")
        events = [_of_room(item, room_id) for item in await self.checks.check(state, version)]
        if not any(event.type == CREATE[0] for event in events):
            raise invalid_param("The create event is missing from invite_room_state")
        return [dict(stripped(event)) for event in events]

    async def usable(self, state: Sequence[Any], room_id: str, version: RoomVersion) -> list[dict[str, Any]]:
        """Those of the entries that pass, as stripped state: of a room that has taken our knock."""
        if not version.room_id_is_create_hash:
            return stripped_of_events(state[:MAX_ENTRIES])
        passed = [
            item.event
            for item in await self.checks.check(state[:MAX_ENTRIES], version)
            if not isinstance(item, Dropped)
        ]
        return [dict(stripped(event)) for event in passed if event.is_state and event.room_id == room_id]


def _of_room(item: Any, room_id: str) -> Event:
    if isinstance(item, Dropped):
        raise invalid_param(f"An entry of invite_room_state is not valid: {item.reason}")
    event: Event = item.event
    if not event.is_state:
        raise invalid_param("An entry of invite_room_state is no state event")
    if event.room_id != room_id:  # of a create event: the hash of its contents [rooms/v12 "Room IDs"]
        raise invalid_param("An entry of invite_room_state is of another room")
    return event
