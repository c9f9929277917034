"""Which event relates to which, and how [cs "Forming relationships between events"]."""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from homeserver.core.ids import fits, is_event_id

THREAD = "m.thread"
REPLACE = "m.replace"
REFERENCE = "m.reference"
ANNOTATION = "m.annotation"


@frozen
class Relation:
    """content["m.relates_to"] where it names a parent and a type. `key` is an annotation's."""

    rel_type: str
    parent_id: str
    key: str | None = None


def relation_of(content: Mapping[str, Any]) -> Relation | None:
    """The relation that an event's content forms; None also for a malformed one, which relates to nothing."""
    relates_to = content.get("m.relates_to")
    if not isinstance(relates_to, dict):
        return None
    rel_type, parent = relates_to.get("rel_type"), relates_to.get("event_id")
    if not (isinstance(rel_type, str) and isinstance(parent, str) and is_event_id(parent)):
        return None
    if "\x00" in rel_type or not fits(rel_type):
        return None  # storage cannot hold or index it
    key = relates_to.get("key")
    return Relation(rel_type, parent, key if isinstance(key, str) else None)
