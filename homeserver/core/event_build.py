"""A draft and its place in the room become a hashed and signed event, and the bytes it will always have.

Three encodings are made, each once: what the content hash covers, what the signature covers (which since v3 is
also what the reference hash covers, so the id comes for free), and the event itself.
"""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen
from signedjson.types import SigningKey

from homeserver.core import canonical_json
from homeserver.core.event import Event
from homeserver.core.event_format import check_sizes
from homeserver.core.hashing import unpadded
from homeserver.core.redaction import redact
from homeserver.core.room_versions import EventIDFormat, RoomVersion


@frozen
class Draft:
    """What somebody wants to say. A redaction's target is in `content.redacts`, whatever the room version.

    `room_id` is None for the create event of a room whose id will be that event's hash [rooms/v12 "Room IDs"].
    """

    type: str
    sender: str
    content: Mapping[str, Any]
    origin_server_ts: int
    room_id: str | None
    state_key: str | None = None


@frozen
class Place:
    """Where in the room's graph the event goes.

    Until v2 links carry the reference hash of what they point at (unpadded base64, by event id; empty where another
    server did not tell it), and the event's id is chosen by its maker; later versions need neither.
    """

    version: RoomVersion
    prev_events: tuple[str, ...]
    auth_events: tuple[str, ...]
    depth: int
    reference_hashes: Mapping[str, str] = field(factory=dict)
    event_id: str | None = None


@frozen
class Signer:
    """Our name and the key we sign with."""

    server_name: str
    key: SigningKey


@frozen(eq=False)
class Built:
    """An event and its canonical JSON: what storage keeps and every other server will be sent."""

    event: Event
    json: bytes


def build_event(draft: Draft, place: Place, signer: Signer) -> Built:
    """Hash, sign and encode [ss "Adding hashes and signatures to outgoing events"].

    Raises event_format.EventTooLarge, and canonical_json.NotCanonical where the content has no strict form:
    what we say is strict in rooms of every version.
    """
    version = place.version
    pdu = _unsigned_pdu(draft, place)
    covered = canonical_json.check(pdu)
    pdu["hashes"] = {"sha256": unpadded(hashlib.sha256(covered).digest())}
    to_sign = canonical_json.encode(redact(pdu, version))
    signature = unpadded(signer.key.sign(to_sign).signature)
    pdu["signatures"] = {signer.server_name: {f"{signer.key.alg}:{signer.key.version}": signature}}
    encoded = canonical_json.encode(pdu)
    check_sizes(pdu, len(encoded))
    event_id = _event_id(place, to_sign)
    return Built(_event(draft, place, event_id, pdu), encoded)


def _unsigned_pdu(draft: Draft, place: Place) -> dict[str, Any]:
    """The event without hashes and signatures, which is what its content hash covers."""
    version = place.version
    pdu: dict[str, Any] = {
        "type": draft.type,
        "sender": draft.sender,
        "content": draft.content,
        "origin_server_ts": draft.origin_server_ts,
        "depth": place.depth,
        "prev_events": _links(place.prev_events, place),
        "auth_events": _links(place.auth_events, place),
    }
    if draft.room_id is not None:
        pdu["room_id"] = draft.room_id
    if draft.state_key is not None:
        pdu["state_key"] = draft.state_key
    if version.event_id_in_pdu:
        pdu["event_id"] = place.event_id
    if draft.type == "m.room.redaction" and not version.redacts_in_content and "redacts" in draft.content:
        content = dict(draft.content)
        pdu["redacts"] = content.pop("redacts")  # at the top level until v10 [rooms/v11 "Redactions"]
        pdu["content"] = content
    return pdu


def _links(event_ids: tuple[str, ...], place: Place) -> list[Any]:
    """Ids, or until v2 pairs of id and hashes [rooms/v1 "Event format"]."""
    if not place.version.event_id_in_pdu:
        return list(event_ids)
    hashes = [place.reference_hashes[event_id] for event_id in event_ids]
    return [
        [event_id, {"sha256": told} if told else {}] for event_id, told in zip(event_ids, hashes, strict=True)
    ]


def _event_id(place: Place, reference: bytes) -> str:
    """The hash of the signed bytes, since v3 [ss "Calculating the reference hash for an event"]."""
    match place.version.event_id_format:
        case EventIDFormat.CHOSEN:
            assert place.event_id is not None, "until v2 the maker chooses the id"
            return place.event_id
        case EventIDFormat.HASH:
            return "$" + unpadded(hashlib.sha256(reference).digest())
        case EventIDFormat.URL_SAFE_HASH:
            return "$" + base64.urlsafe_b64encode(hashlib.sha256(reference).digest())[:43].decode("ascii")


def _event(draft: Draft, place: Place, event_id: str, pdu: dict[str, Any]) -> Event:
    return Event(
        event_id=event_id,
        room_id=draft.room_id or "!" + event_id[1:],
        type=draft.type,
        sender=draft.sender,
        state_key=draft.state_key,
        content=pdu["content"],
        origin_server_ts=draft.origin_server_ts,
        depth=place.depth,
        prev_events=place.prev_events,
        auth_events=place.auth_events,
        pdu=pdu,
        version=place.version,
    )
