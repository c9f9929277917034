"""Our events for rooms that we are not in: begun by another server, finished and signed by us.

The template says only where in the room's graph the event goes, and who vouches for a restricted join. What the event
says is ours [ss "Joining Rooms"].
"""

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from federation.client.membership import Template
from homeserver.core.canonical_json import NotCanonical
from homeserver.core.event_build import Built, Draft, Place, Signer, build_event
from homeserver.core.event_format import InvalidEvent, check_format
from homeserver.core.ids import is_user_id
from homeserver.core.membership import JOIN
from homeserver.core.room_versions import ROOM_VERSIONS, RoomVersion
from homeserver.core.signing import signed_bytes
from homeserver.services.growth import chosen_event_id
from homeserver.services.member_content import Move
from homeserver.services.restricted_joins import AUTHORIZER

MAX_SIGNATURES = 10  # of one server on one event


class BadAnswer(Exception):
    """What a server answered cannot be used; the text says why."""


@frozen
class Wanted:
    """The event that we ask a template for, with the content that it will have."""

    room_id: str
    user_id: str
    membership: str
    content: Mapping[str, Any]
    now: int


def wanted(move: Move, content: Mapping[str, Any], now: int) -> Wanted:
    """What the move comes to."""
    return Wanted(move.room_id, move.target, move.membership, content, now)


def versions_for(membership: str) -> list[str]:
    """The room versions that we know, and in which there is such a membership."""
    return [version.name for version in ROOM_VERSIONS.values() if membership != "knock" or version.knock]


def finished(template: Template, event: Wanted, signer: Signer) -> Built:
    """Our event at the place that the template gives. Raises BadAnswer."""
    version = ROOM_VERSIONS.get(template.room_version)
    if version is None or version.name not in versions_for(event.membership):
        raise BadAnswer("the template is of a room version that we did not offer")
    _check_template(template.event, event)
    content = dict(event.content)
    authorizer = _authorizer(template.event, version, event.membership)
    if authorizer is not None:
        content[AUTHORIZER] = authorizer
    draft = Draft("m.room.member", event.user_id, content, event.now, event.room_id, event.user_id)
    try:
        built = build_event(draft, _place(template.event, version, signer), signer)
        check_format(built.event.pdu, version)
    except (InvalidEvent, NotCanonical) as cause:
        raise BadAnswer(f"the template cannot be finished: {cause}") from cause
    return built


def _check_template(template: Mapping[str, Any], event: Wanted) -> None:
    """What the specification has us verify, so that nobody has us sign what we do not mean [ss "GET make_join"]."""
    expected = {
        "type": "m.room.member",
        "room_id": event.room_id,
        "sender": event.user_id,
        "state_key": event.user_id,
    }
    for name, value in expected.items():
        if template.get(name) != value:
            raise BadAnswer(f"the template has another {name}")
    content = template.get("content")
    if not isinstance(content, dict) or content.get("membership") != event.membership:
        raise BadAnswer("the template has another membership")


def _authorizer(template: Mapping[str, Any], version: RoomVersion, membership: str) -> str | None:
    named = template["content"].get(AUTHORIZER)
    return named if version.restricted and membership == JOIN and is_user_id(named) else None


def _place(template: Mapping[str, Any], version: RoomVersion, signer: Signer) -> Place:
    hashes: dict[str, str] = {}
    depth = template.get("depth")
    if type(depth) is not int:
        raise BadAnswer("the template has no depth")
    return Place(
        version=version,
        prev_events=_links(template, "prev_events", version, hashes),
        auth_events=_links(template, "auth_events", version, hashes),
        depth=depth,
        reference_hashes=hashes,
        event_id=chosen_event_id(signer.server_name) if version.event_id_in_pdu else None,
    )


def _links(
    template: Mapping[str, Any], name: str, version: RoomVersion, hashes: dict[str, str]
) -> tuple[str, ...]:
    """The ids; until v2, links carry hashes too, which are put into `hashes`."""
    links = template.get(name)
    if not isinstance(links, list) or len(links) > 20:
        raise BadAnswer(f"the template has no usable {name}")
    ids = []
    for link in links:
        event_id = link
        if version.event_id_in_pdu:
            event_id, hashed = _pair(link, name)
            hashes[event_id] = hashed
        if not isinstance(event_id, str):
            raise BadAnswer(f"the template's {name} are no events")
        ids.append(event_id)
    return tuple(ids)


def _pair(link: Any, name: str) -> tuple[str, str]:
    match link:
        case [str(event_id), {"sha256": str(hashed)}]:
            return event_id, hashed
        case [str(event_id), {}]:
            return event_id, ""  # COMPAT(Synapse, which does not always know it)
    raise BadAnswer(f"the template's {name} are no links")


def cosigned(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], servers: Sequence[str], version: RoomVersion
) -> dict[str, Any]:
    """Our event with what `servers` have signed of it, as it came back. Raises BadAnswer if it is another event."""
    try:
        check_format(dict(theirs), version)
        same = signed_bytes(theirs, version) == signed_bytes(ours, version)
    except (InvalidEvent, NotCanonical) as cause:
        raise BadAnswer(f"what came back is no event: {cause}") from cause
    if not same:
        raise BadAnswer("the event came back changed")
    signatures = {name: dict(keys) for name, keys in ours["signatures"].items()}
    for server in servers:
        keys = theirs["signatures"].get(server, {})
        if server not in signatures and 0 < len(keys) <= MAX_SIGNATURES:
            signatures[server] = dict(keys)
    return {**ours, "signatures": signatures}
