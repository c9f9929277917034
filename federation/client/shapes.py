"""Is an answer of another server shaped as specified? What is not is an answer that cannot be read."""

from collections.abc import Mapping
from typing import Any

from federation.transport.requests import PeerUnreachable
from homeserver.core.canonical_json import Unparsed
from homeserver.core.ids import is_event_id, is_room_id, is_server_name

JsonObject = dict[str, Any]
Pdu = JsonObject | Unparsed


def unreadable(destination: str, what: str) -> PeerUnreachable:
    """The fault of an answer that is JSON, but not what it should be."""
    return PeerUnreachable(destination, f"unreadable answer: {what}")


def objects(destination: str, answer: Mapping[str, Any], name: str) -> list[JsonObject]:
    """A list of objects."""
    found = answer.get(name)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise unreadable(destination, f"{name} is not a list of objects")
    return found


def pdus(destination: str, answer: Mapping[str, Any], name: str) -> list[Pdu]:
    """A list of objects; those of a large answer are not parsed yet, and so may be anything."""
    found = answer.get(name)
    if not isinstance(found, list) or not all(isinstance(one, dict | Unparsed) for one in found):
        raise unreadable(destination, f"{name} is not a list of objects")
    return found


def an_object(destination: str, answer: Mapping[str, Any], name: str) -> JsonObject:
    """An object."""
    found = answer.get(name)
    if not isinstance(found, dict):
        raise unreadable(destination, f"{name} is not an object")
    return found


def objects_by_name(destination: str, answer: Mapping[str, Any], name: str) -> dict[str, JsonObject]:
    """An object of objects; none where it is missing."""
    found = answer.get(name, {})
    if not isinstance(found, dict) or not all(isinstance(one, dict) for one in found.values()):
        raise unreadable(destination, f"{name} is not an object of objects")
    return found


def event_ids(destination: str, answer: Mapping[str, Any], name: str) -> list[str]:
    """A list of event ids."""
    found = answer.get(name)
    if not isinstance(found, list) or not all(is_event_id(one) for one in found):
        raise unreadable(destination, f"{name} is not a list of event ids")
    return found


def event_id(destination: str, answer: Mapping[str, Any], name: str) -> str:
    """An event id."""
    found = answer.get(name)
    if not isinstance(found, str) or not is_event_id(found):
        raise unreadable(destination, f"{name} is not an event id")
    return found


def room_id(destination: str, answer: Mapping[str, Any], name: str) -> str:
    """A room id."""
    found = answer.get(name)
    if not isinstance(found, str) or not is_room_id(found):
        raise unreadable(destination, f"{name} is not a room id")
    return found


def text(destination: str, answer: Mapping[str, Any], name: str) -> str:
    """A string that a database can hold."""
    found = answer.get(name)
    if not isinstance(found, str) or "\x00" in found:
        raise unreadable(destination, f"{name} is not a string")
    return found


def integer(destination: str, answer: Mapping[str, Any], name: str) -> int:
    """An integer that JSON can hold."""
    found = answer.get(name)
    if type(found) is not int or abs(found) >= 2**53:
        raise unreadable(destination, f"{name} is not an integer")
    return found


def server_names(answer: Mapping[str, Any], name: str) -> list[str]:
    """The server names in a list; what is none is left out, and where there is no list there are none."""
    found = answer.get(name)
    if not isinstance(found, list):
        return []
    return [one for one in found if isinstance(one, str) and is_server_name(one)]
