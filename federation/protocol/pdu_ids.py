"""Under which ids a sender looks for a PDU that we refuse without knowing its room's version.

Until version 2 an event says its id itself; since then the id is a hash, of which a few forms exist. The answer to a
transaction names all that are possible: one of them is the sender's, the others mean nothing to it.
"""

from collections.abc import Collection

from homeserver.core import canonical_json
from homeserver.core.hashing import event_id_of
from homeserver.core.ids import is_event_id
from homeserver.core.room_versions import ROOM_VERSIONS, EventIDFormat, RoomVersion


def _distinct() -> tuple[RoomVersion, ...]:
    """One version for each form that ids have."""
    forms = {
        (version.event_id_format, id(version.redaction), version.strict_canonical_json): version
        for version in ROOM_VERSIONS.values()
    }
    return tuple(forms.values())


ALL_VERSIONS = _distinct()


def possible_ids(json: bytes, versions: Collection[RoomVersion]) -> list[str]:
    """The ids the event would have in rooms of these versions, none if it is no event at all."""
    try:
        pdu = canonical_json.decode_lenient(json)
    except canonical_json.NotCanonical:
        return []
    if not isinstance(pdu, dict) or not isinstance(pdu.get("type"), str):
        return []
    found = []
    for version in versions:
        if version.event_id_format is EventIDFormat.CHOSEN and not is_event_id(pdu.get("event_id")):
            continue
        try:
            found.append(event_id_of(pdu, version))
        except canonical_json.NotCanonical:
            continue
    return list(dict.fromkeys(found))
