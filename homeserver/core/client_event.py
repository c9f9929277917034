"""An event as clients see it, as bytes that are made once [cs "Room event format"].

What depends on who reads it and when (age, transaction id, previous content, …) is spliced in as `unsigned`; so
is the room id, which /sync leaves out because the answer names the room elsewhere.
"""

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import orjson

from homeserver.core.canonical_json import snug
from homeserver.core.event import Event

# Lives as long as the events do, which their readers bound; keyed by identity, as an event is immutable.
_forms: WeakKeyDictionary[Event, bytes] = WeakKeyDictionary()


def client_bytes(event: Event) -> bytes:
    """The client form without room id and `unsigned`."""
    made = _forms.get(event)
    if made is None:
        made = _forms[event] = snug(orjson.dumps(_form(event)))
    return made


def client_form(
    event: Event, unsigned: Mapping[str, Any], *, room_id: bool, user_id: bool = False
) -> orjson.Fragment:
    """The client form with what belongs to this answer; `user_id`: the sender under its old name too."""
    told = b',"room_id":' + orjson.dumps(event.room_id) if room_id else b""
    if user_id:
        told += b',"user_id":' + orjson.dumps(event.sender)
    return orjson.Fragment(b'%b%b,"unsigned":%b}' % (client_bytes(event)[:-1], told, orjson.dumps(unsigned)))


def client_dict(event: Event, unsigned: Mapping[str, Any]) -> dict[str, Any]:
    """The same as an object without the room id, for answers that leave out fields."""
    return {**_form(event), "unsigned": dict(unsigned)}


def federation_dict(event: Event, unsigned: Mapping[str, Any]) -> dict[str, Any]:
    """The event as servers exchange it, for filters with `event_format: federation`.

    COMPAT(SyTest, clients that know events by their ids): with its id, also since v3.
    """
    return {"event_id": event.event_id, **event.pdu, "unsigned": dict(unsigned)}


def _form(event: Event) -> dict[str, Any]:
    form = {
        "type": event.type,
        "sender": event.sender,
        "content": event.content,
        "event_id": event.event_id,
        "origin_server_ts": event.origin_server_ts,
    }
    if event.state_key is not None:
        form["state_key"] = event.state_key
    redacts = event.redacts
    if redacts is not None:  # in both places, for older and newer clients [rooms/v11 "Redactions"]
        form["redacts"] = redacts
        form["content"] = {**event.content, "redacts": redacts}
    return form
