"""Makes messages, names and topics findable as they come [cs "Server Side Search"]."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from homeserver.core.search_words import document
from storage.database import Connection
from storage.following import NewEvent
from storage.room_batches import ACCEPTED, EventRow
from storage.search import (
    BODY,
    NAME,
    TOPIC,
    Document,
    drop_redacted,
    drop_taken_back,
    put_documents,
    room_mark,
)

MESSAGE, ROOM_NAME, ROOM_TOPIC, REDACTION = (
    "m.room.message",
    "m.room.name",
    "m.room.topic",
    "m.room.redaction",
)
TYPES = (MESSAGE, ROOM_NAME, ROOM_TOPIC, REDACTION)
_PARTS = {MESSAGE: (BODY, "body"), ROOM_NAME: (NAME, "name"), ROOM_TOPIC: (TOPIC, "topic")}


async def take_documents(conn: Connection, events: Sequence[NewEvent]) -> None:
    """Write the words of new events, and forget those of redacted ones."""
    made = [one for event in events if not event.redacted and (one := _document(event)) is not None]
    if made:
        await put_documents(conn, made)
    redactions = [event.event_nid for event in events if event.type == REDACTION]
    if redactions:
        await drop_redacted(conn, redactions)


async def take_history(conn: Connection, room_nid: int, events: Sequence[EventRow]) -> None:
    """The same of events that were fetched behind what followers have read; in the transaction that writes them."""
    told = [one for one in events if one.in_timeline and one.status == ACCEPTED]
    made = [
        found
        for one in told
        if (found := _made(one.type, one.json, (one.event_nid, one.origin_server_ts, room_nid))) is not None
    ]
    if made:
        await put_documents(conn, made)
        await drop_taken_back(conn, [one.event_nid for one in made])
    redactions = [one.event_nid for one in told if one.type == REDACTION]
    if redactions:
        await drop_redacted(conn, redactions)


def _document(event: NewEvent) -> Document | None:
    return _made(event.type, event.json, (event.event_nid, event.ts, event.room_nid))


def _made(kind: str, json: bytes, numbers: tuple[int, int, int]) -> Document | None:
    if kind not in _PARTS:
        return None
    event_nid, ts, room_nid = numbers
    text = searched_text(kind, orjson.loads(json).get("content"))
    words = document(text, [room_mark(room_nid)]) if text else ""
    return Document(event_nid, ts, room_nid, _PARTS[kind][0], words) if words else None


def searched_text(kind: str, content: Any) -> str:
    """The text of an event that is searched; content may be anything."""
    if not isinstance(content, Mapping) or kind not in _PARTS:
        return ""
    texts = [content.get(_PARTS[kind][1])]
    if kind == ROOM_TOPIC:
        texts += _plain_topics(content.get("m.topic"))  # since v1.15
    return " ".join(text for text in texts if isinstance(text, str))


def _plain_topics(topic: Any) -> list[Any]:
    """The text/plain forms of an m.topic."""
    forms = topic.get("m.text") if isinstance(topic, Mapping) else None
    listed = forms if isinstance(forms, list) else []
    plain = [form for form in listed if isinstance(form, Mapping)]
    return [form.get("body") for form in plain if form.get("mimetype", "text/plain") == "text/plain"]
