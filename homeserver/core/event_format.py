"""Is this JSON an event of its room version? [rooms "Event format"], [cs "Size limits"]

What passes here can be stored, hashed and judged without further questions about types and sizes. The
specification's limits are kept exactly; what it leaves open and storage must know is settled here too:
numbers fit 64 bits, and identifiers and types hold no U+0000, which no database text can.
"""

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, frozen

from homeserver.core import canonical_json
from homeserver.core.event import Event, event_from_pdu, share_strings
from homeserver.core.hashing import canonical_bytes, covered_bytes, event_id_of
from homeserver.core.ids import MAX_ID_BYTES, fits, is_event_id, is_room_id, is_user_id
from homeserver.core.room_versions import RoomVersion

MAX_EVENT_BYTES = 65536  # [cs "Size limits"]
MAX_FIELD_BYTES = MAX_ID_BYTES  # [cs "Size limits"]
_MAX_TEXT_BYTES = 16 * MAX_EVENT_BYTES  # with blanks, and with six bytes for one
MAX_PREV_EVENTS = 20  # [ss "PDUs"]
MAX_AUTH_EVENTS = 10  # [ss "PDUs"]
_MAX_INT64 = 2**63 - 1
_LIMITED_FIELDS = ("type", "state_key", "sender", "room_id", "event_id")


@define(eq=False)
class InvalidEvent(ValueError):
    """Not an event of the room version; `reason` says why."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@define(eq=False)
class EventTooLarge(InvalidEvent):
    """An event beyond a limit of size; `field` is what is too large, "event" for the whole."""

    field: str


@frozen(slots=True)
class Received:
    """An event with its bytes, each made once: in canonical form, and what its signatures are over."""

    event: Event
    json: bytes
    covered: bytes


def parse_pdu(pdu: Any, version: RoomVersion) -> Event:
    """The event that `pdu` holds, with its id; raises InvalidEvent. `unsigned` is left behind."""
    return receive_pdu(pdu, version).event


def receive_pdu(pdu: Any, version: RoomVersion) -> Received:
    """`parse_pdu` for who will also verify and keep the event, which may be JSON that nobody has parsed yet."""
    if isinstance(pdu, canonical_json.Unparsed):
        pdu, text = _parsed(pdu, version)
        signed = pdu  # nobody else has it
        if "unsigned" in pdu:
            signed = {key: value for key, value in pdu.items() if key != "unsigned"}
    else:
        text = check_format(pdu, version)
        signed = {key: value for key, value in pdu.items() if key != "unsigned"}
    share_strings(signed)
    covered = covered_bytes(signed, version)
    event = event_from_pdu(signed, event_id_of(signed, version, covered=covered), version)
    return Received(event, text if len(signed) == len(pdu) else canonical_bytes(signed, version), covered)


def check_format(pdu: Any, version: RoomVersion) -> bytes:
    """The canonical form of `pdu`. Raise InvalidEvent unless `pdu` complies with the event format of `version`.

    Whether the canonical form must be strict hangs on the version [rooms/v6 "Canonical JSON"].
    """
    if not isinstance(pdu, dict):
        raise InvalidEvent("an event is a JSON object")
    try:
        strict = version.strict_canonical_json
        text = canonical_json.check(pdu) if strict else canonical_json.encode_lenient(pdu)
    except canonical_json.NotCanonical as error:
        raise InvalidEvent(f"not canonical JSON: {error}") from error
    _check_shape(pdu, text, version)
    return text


def _parsed(unparsed: canonical_json.Unparsed, version: RoomVersion) -> tuple[dict[str, Any], bytes]:
    """A PDU and its canonical form, as `check_format` has it; for strict versions made in one go."""
    if len(memoryview(unparsed)) > _MAX_TEXT_BYTES:
        raise EventTooLarge(f"the event exceeds {MAX_EVENT_BYTES} bytes", "event")
    try:
        if not version.strict_canonical_json:
            pdu = canonical_json.decode_lenient(unparsed)
            return pdu, check_format(pdu, version)
        pdu, text = canonical_json.normalized(unparsed)
    except canonical_json.NotCanonical as error:
        raise InvalidEvent(f"not canonical JSON: {error}") from error
    if not isinstance(pdu, dict):
        raise InvalidEvent("an event is a JSON object")
    _check_shape(pdu, text, version)
    return pdu, text


def _check_shape(pdu: Mapping[str, Any], text: bytes, version: RoomVersion) -> None:
    check_sizes(pdu, len(text))
    _check_fields(pdu, version)
    _check_links(pdu, "prev_events", MAX_PREV_EVENTS, version)
    _check_links(pdu, "auth_events", MAX_AUTH_EVENTS, version)


def check_sizes(pdu: Mapping[str, Any], size: int) -> None:
    """The limits of size, in bytes of UTF-8; `size` is that of the whole in canonical form [cs "Size limits"]."""
    for field in _LIMITED_FIELDS:
        text = pdu.get(field)
        if isinstance(text, str) and not fits(text):
            raise EventTooLarge(f"{field} exceeds {MAX_FIELD_BYTES} bytes", field)
    if size > MAX_EVENT_BYTES:
        raise EventTooLarge(f"the event exceeds {MAX_EVENT_BYTES} bytes", "event")


def _check_fields(pdu: Mapping[str, Any], version: RoomVersion) -> None:
    """Presence and type of each field [ss "PDUs"]."""
    for field, holds, wanted in _FIELDS:
        if field not in pdu:
            raise InvalidEvent(f"{field} is missing")
        if not holds(pdu[field]):
            raise InvalidEvent(f"{field} must be {wanted}")
    if "state_key" in pdu and not _is_text(pdu["state_key"]):
        raise InvalidEvent("state_key must be a string")
    if not 0 <= pdu["depth"] <= (canonical_json.MAX_INTEGER if version.strict_canonical_json else _MAX_INT64):
        raise InvalidEvent("depth is out of range")
    if version.event_id_in_pdu and not is_event_id(pdu.get("event_id")):
        raise InvalidEvent("event_id must be an event id")  # until v2
    _check_room_id(pdu, version)


def _check_room_id(pdu: Mapping[str, Any], version: RoomVersion) -> None:
    """Every event names its room, but a create event whose hash is the room's id [rooms/v12 "Event format"]."""
    if version.room_id_is_create_hash:
        if pdu["type"] == "m.room.create" and "room_id" not in pdu:
            return  # that it must not be there is an authorization rule [rooms/v12 auth 1.2]
        if ":" in str(pdu.get("room_id")):
            raise InvalidEvent("room_id must be the create event's id")
    if not is_room_id(pdu.get("room_id")):
        raise InvalidEvent("room_id must be a room id")


def _check_links(pdu: Mapping[str, Any], field: str, most: int, version: RoomVersion) -> None:
    """`prev_events` or `auth_events`: ids, or until v2 pairs of an id and its hashes [ss "PDUs"]."""
    links = pdu.get(field)
    if not isinstance(links, list):
        raise InvalidEvent(f"{field} must be a list")
    if len(links) > most:
        raise InvalidEvent(f"{field} has more than {most} entries")
    is_link = _is_pair if version.event_id_in_pdu else is_event_id
    if not all(map(is_link, links)):
        raise InvalidEvent(f"{field} must hold event ids")


def _is_pair(link: Any) -> bool:
    return isinstance(link, list) and len(link) == 2 and is_event_id(link[0]) and isinstance(link[1], dict)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\x00" not in value


def _is_int64(value: Any) -> bool:
    return type(value) is int and -_MAX_INT64 <= value <= _MAX_INT64


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_signatures(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    for keys in value.values():
        if not isinstance(keys, dict):
            return False
        for text in keys.values():
            if not isinstance(text, str):
                return False
    return True


_FIELDS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("type", _is_text, "a string"),
    ("sender", is_user_id, "a user id"),
    ("content", _is_object, "an object"),
    ("origin_server_ts", _is_int64, "an integer"),
    ("depth", _is_int64, "an integer"),
    ("hashes", _is_object, "an object"),
    ("signatures", _is_signatures, "an object of signatures by server and key"),
)
