"""The frozen `Event`: a PDU that has been parsed, with its id; from and to JSON for every format.

An event's bytes are made once. `pdu` is the parsed object as it was signed (no `unsigned`), and the encoded form
is what storage keeps and federation sends; nothing here is ever changed in place. What is not signed (age,
transaction id, previous content, redacted_because) travels beside the event, never in it.
"""

from collections.abc import Mapping
from sys import intern
from typing import Any

from attrs import field, frozen

from homeserver.core.ids import is_event_id
from homeserver.core.room_versions import RoomVersion

StateKey = tuple[str, str]  # (type, state_key): what a room's state is indexed by


@frozen(eq=False, slots=True)
class Event:
    """One event of a room. Equality is identity of ids: `event_id` is what to compare.

    `auth_events` is what the event names; in a room whose id is the create event's hash the create event is not
    among them and must be added by who walks the chain [rooms/v12 "Event format"]; see `core.auth.selection`.
    """

    event_id: str
    room_id: str
    type: str
    sender: str
    state_key: str | None
    content: Mapping[str, Any]
    origin_server_ts: int
    depth: int
    prev_events: tuple[str, ...]
    auth_events: tuple[str, ...]
    pdu: Mapping[str, Any] = field(repr=False)
    version: RoomVersion = field(repr=False)

    @property
    def is_state(self) -> bool:
        """Does the event carry a state key (an empty one counts)?"""
        return self.state_key is not None

    @property
    def key(self) -> StateKey:
        """(type, state_key) of a state event; must not be asked of another."""
        assert self.state_key is not None, f"{self.event_id} is no state event"
        return (self.type, self.state_key)

    @property
    def membership(self) -> str | None:
        """content.membership where it is a string."""
        value = self.content.get("membership")
        return value if isinstance(value, str) else None

    @property
    def redacts(self) -> str | None:
        """The id of the event that this one redacts: top level until v10, in content since [rooms/v11].

        None also for what cannot be an id: nothing checks it before, and storage cannot hold everything.
        """
        if self.type != "m.room.redaction":
            return None
        value = self.content.get("redacts") if self.version.redacts_in_content else self.pdu.get("redacts")
        return value if is_event_id(value) else None


def event_from_pdu(pdu: Mapping[str, Any], event_id: str, version: RoomVersion) -> Event:
    """The event that `pdu` holds. The caller has checked its format (see `core.event_format`).

    The room id of a create event is made of its id where the version says so [rooms/v12 "Room IDs"].
    """
    room_id = pdu.get("room_id")
    if room_id is None:
        room_id = "!" + event_id[1:]
    return Event(
        event_id=event_id,
        room_id=room_id,
        type=pdu["type"],
        sender=pdu["sender"],
        state_key=pdu.get("state_key"),
        content=pdu["content"],
        origin_server_ts=pdu["origin_server_ts"],
        depth=pdu["depth"],
        prev_events=_linked(pdu["prev_events"], version),
        auth_events=_linked(pdu["auth_events"], version),
        pdu=pdu,
        version=version,
    )


def share_strings(pdu: dict[str, Any]) -> None:
    """Keep once what many events say: a sixth of what one takes. For an object that was just parsed."""
    for name in ("type", "sender", "room_id"):
        value = pdu.get(name)
        if isinstance(value, str):
            pdu[name] = intern(value)
    links = pdu.get("auth_events")
    if isinstance(links, list):
        pdu["auth_events"] = [intern(link) if isinstance(link, str) else link for link in links]


def _linked(links: Any, version: RoomVersion) -> tuple[str, ...]:
    """The ids of a list of links: bare, or first of a pair [rooms/v1 "Event format"]."""
    return tuple(link[0] for link in links) if version.event_id_in_pdu else tuple(links)
