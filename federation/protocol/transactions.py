"""A transaction: the body of PUT /send, taken apart so that one bad part spoils no other [ss "Transactions"].

PDUs stay the bytes that came: their room's version decides how strictly they are parsed, and what is stored is what was
signed. Outgoing ones are spliced from stored bytes; the result is canonical, so the request is signed as it is sent.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from attrs import field, frozen

from homeserver.core import canonical_json
from homeserver.core.ids import is_room_id, is_server_name

MAX_PDUS = 50
MAX_EDUS = 100
MAX_EDU_TYPE = 255
MAX_DEPTH = 200  # of one PDU or EDU, where the parser has given up on the whole
MAX_TOKENS = 500_000  # of such a body; fifty events of the greatest size have fewer


class InvalidTransaction(ValueError):
    """The body is no transaction at all: nothing of it can be used."""


class TooMany(InvalidTransaction):
    """More PDUs or EDUs than a transaction may have."""


@frozen
class Pdu:
    """An event as it came. `room_id` is None where there is none to be read: such an event is dropped.

    The create event of a room since version 12 has none; it never comes by a transaction.
    """

    json: bytes = field(repr=False)
    room_id: str | None = None


@frozen
class Edu:
    """An ephemeral message [ss "EDUs"]."""

    type: str
    content: dict[str, Any] = field(repr=False)


@frozen
class Transaction:
    """What a server sends at once. `bad_edus` counts those that were no EDUs."""

    origin: str
    origin_server_ts: int
    pdus: tuple[Pdu, ...]
    edus: tuple[Edu, ...]
    bad_edus: int = 0


class _Body(msgspec.Struct):
    origin: str
    pdus: list[msgspec.Raw] | None  # COMPAT(servers written in Go: null for none)
    edus: list[msgspec.Raw] | None = None
    origin_server_ts: int = 0  # COMPAT(senders that leave it out: nothing rests on it)


class _Glance(msgspec.Struct):
    room_id: str


class _Edu(msgspec.Struct):
    edu_type: str
    content: msgspec.Raw


_PART_DEPTH = 3  # in the array of PDUs, in the object
_NESTING = re.compile(rb'"(?:[^"\\]|\\.)*"|[][{}]', re.DOTALL)
_BODY = msgspec.json.Decoder(_Body)
_GLANCE = msgspec.json.Decoder(_Glance)
_EDU = msgspec.json.Decoder(_Edu)


def parse(body: bytes) -> Transaction:
    """Take the body apart, or raise InvalidTransaction."""
    read = _body(body)
    if not is_server_name(read.origin):
        raise InvalidTransaction("origin is not a server name")
    pdus, edus = read.pdus or [], read.edus or []
    if len(pdus) > MAX_PDUS:
        raise TooMany(f"more than {MAX_PDUS} PDUs")
    if len(edus) > MAX_EDUS:
        raise TooMany(f"more than {MAX_EDUS} EDUs")
    good = tuple(edu for raw in edus if (edu := _edu(raw)) is not None)
    return Transaction(
        read.origin, read.origin_server_ts, tuple(map(_pdu, pdus)), good, bad_edus=len(edus) - len(good)
    )


def edu_bytes(edu_type: str, content: Mapping[str, Any]) -> bytes:
    """The canonical bytes of an EDU."""
    return canonical_json.encode({"content": content, "edu_type": edu_type})


def build(origin: str, origin_server_ts: int, *, pdus: Sequence[bytes], edus: Sequence[bytes] = ()) -> bytes:
    """The canonical bytes of a transaction of ours, from canonical bytes of events and EDUs."""
    assert len(pdus) <= MAX_PDUS
    assert len(edus) <= MAX_EDUS
    return b'{"edus":[%b],"origin":%b,"origin_server_ts":%d,"pdus":[%b]}' % (
        b",".join(edus),
        canonical_json.encode(origin),
        origin_server_ts,
        b",".join(pdus),
    )


def _body(body: bytes) -> _Body:
    try:
        try:
            return _BODY.decode(body)
        except RecursionError:
            return _BODY.decode(_without_abysses(body))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidTransaction("not a transaction: origin and pdus are required") from error


def _without_abysses(body: bytes) -> bytes:
    """The body with null for each PDU and EDU that is nested too deeply to be parsed.

    A server that can carry such an event would otherwise repeat it for ever, and everything behind it would wait.
    """
    kept: list[bytes] = []
    depth = deepest = begin = done = 0
    for count, match in enumerate(_NESTING.finditer(body)):
        if count > MAX_TOKENS:
            raise InvalidTransaction("nested too deeply")
        if match[0] in (b"[", b"{"):
            depth += 1
            deepest = max(depth, deepest)
            if depth == _PART_DEPTH:
                begin, deepest = match.start(), depth
        elif match[0] in (b"]", b"}"):
            if depth == _PART_DEPTH and deepest > MAX_DEPTH:
                kept += (body[done:begin], b"null")
                done = match.end()
            depth -= 1
    return b"".join((*kept, body[done:]))


def _pdu(raw: msgspec.Raw) -> Pdu:
    text = bytes(raw)
    try:
        room_id = _GLANCE.decode(text).room_id
    except (msgspec.DecodeError, ValueError, RecursionError):
        return Pdu(text)
    return Pdu(text, room_id if is_room_id(room_id) else None)


def _edu(raw: msgspec.Raw) -> Edu | None:
    try:
        read = _EDU.decode(raw)
        content = canonical_json.decode_lenient(bytes(read.content))
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or len(read.edu_type) > MAX_EDU_TYPE:
        return None
    return Edu(read.edu_type, content)
