"""Redaction: what survives of an event, per room version [rooms/v1 "Redactions" and its successors]."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from homeserver.core.room_versions import RoomVersion


def redact(pdu: Mapping[str, Any], version: RoomVersion) -> dict[str, Any]:
    """A new PDU with only what the version's rules keep; redacting twice equals redacting once."""
    rules = version.redaction
    kept = {key: value for key, value in pdu.items() if key in rules.top_level}
    kept["content"] = _redact_content(pdu, version)
    return kept


def _redact_content(pdu: Mapping[str, Any], version: RoomVersion) -> dict[str, Any]:
    content = pdu.get("content")
    if not isinstance(content, dict):
        return {}
    keys = version.redaction.content.get(pdu.get("type", ""), frozenset())
    if keys is None:
        return dict(content)
    kept = {key: content[key] for key in keys if key in content}
    for outer, inner in _nested(keys):
        value = content.get(outer)
        if isinstance(value, dict) and inner in value:
            kept[outer] = {inner: value[inner]}  # since v11 [rooms/v11 "Redactions"]
    return kept


@cache
def _nested(keys: frozenset[str]) -> tuple[tuple[str, str], ...]:
    """Those of a room version's keys that name a member of an object."""
    return tuple((outer, inner) for outer, dot, inner in (key.partition(".") for key in keys) if dot)
