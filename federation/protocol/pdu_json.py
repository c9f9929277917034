"""A PDU's text becomes JSON as strictly as its room's version wants it."""

from typing import Any

from homeserver.core import canonical_json
from homeserver.core.room_versions import RoomVersion


def parse_pdu_text(text: bytes, version: RoomVersion) -> Any:
    """The JSON of a PDU; raises canonical_json.NotCanonical."""
    if version.strict_canonical_json:
        return canonical_json.decode(text)
    return canonical_json.decode_lenient(text)
