"""Reads answers of other servers: limited, strictly JSON, and never longer on the loop than a few milliseconds."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from attrs import field, frozen

from federation.transport.connect import Exchange, TooLarge
from federation.transport.slices import NotAnObject, SlicedObject
from homeserver.core import canonical_json

_AT_ONCE = 256 * 1024  # bytes that are parsed as a whole
_SPLIT_AT_ONCE = 16 * 1024 * 1024  # bytes that are split as a whole: some 8 ms
_MAX_REFUSAL = 64 * 1024
_MAX_WORDS = 500  # characters of an error that are kept
_MAX_RETRY = 24 * 3600


class UnusableAnswer(Exception):
    """The answer cannot be read: too large, or not the JSON that was asked for."""


@frozen
class Refusal:
    """An error as the peer told it; texts are empty where it did not."""

    status: int
    errcode: str = ""
    error: str = ""
    body: Mapping[str, Any] = field(factory=dict, repr=False)
    retry_after: float | None = None


async def read_object(exchange: Exchange, most: int, unparsed: Collection[str] = ()) -> dict[str, Any]:
    """The answer, which must be a JSON object. Large ones are parsed as they come in.

    The elements of the arrays called `unparsed` are left as text in an answer that is large, but not very large.
    """
    start = bytearray()
    slices: SlicedObject | None = None
    whole = _SPLIT_AT_ONCE if unparsed else _AT_ONCE
    try:
        async for chunk in exchange.limited(most):
            if slices is not None:
                slices.feed(chunk)
                continue
            start += chunk
            if len(start) > whole:
                slices = SlicedObject()
                for begin in range(0, len(start), _AT_ONCE // 4):
                    slices.feed(bytes(start[begin : begin + _AT_ONCE // 4]))
                    await asyncio.sleep(0)
                start.clear()
        return _object(bytes(start), unparsed) if slices is None else slices.finish()
    except TooLarge as cause:
        raise UnusableAnswer("too large an answer") from cause
    except NotAnObject as cause:
        raise UnusableAnswer(f"unreadable answer: {cause}") from cause


async def read_pair(exchange: Exchange, most: int) -> dict[str, Any]:
    """The object in [200, {…}], which deprecated endpoints answer with."""
    try:
        found = canonical_json.decode_lenient(await read_bytes(exchange, most))
    except canonical_json.NotCanonical as cause:
        raise UnusableAnswer("unreadable answer: it is not JSON") from cause
    if not isinstance(found, list) or len(found) != 2 or not isinstance(found[1], dict):
        raise UnusableAnswer("unreadable answer: it is not a pair of status and object")
    return found[1]


async def read_bytes(exchange: Exchange, most: int) -> bytes:
    """The answer as it came."""
    try:
        return b"".join([chunk async for chunk in exchange.limited(most)])
    except TooLarge as cause:
        raise UnusableAnswer("too large an answer") from cause


async def read_refusal(exchange: Exchange) -> Refusal:
    """What an error answer says, as far as it can be understood."""
    waits = _seconds(exchange.headers.get("Retry-After", ""))
    try:
        body = await read_object(exchange, _MAX_REFUSAL)
    except UnusableAnswer:
        return Refusal(exchange.status, retry_after=waits)
    told = body.get("retry_after_ms")
    if isinstance(told, int | float):
        waits = min(max(told, 0), 1000 * _MAX_RETRY) / 1000
    return Refusal(
        exchange.status, _words(body.get("errcode")), _words(body.get("error")), body, retry_after=waits
    )


def _object(text: bytes, unparsed: Collection[str] = ()) -> dict[str, Any]:
    try:
        if len(text) > _AT_ONCE:
            return canonical_json.split(text, unparsed)
        found = canonical_json.decode_lenient(text)
    except canonical_json.NotCanonical as cause:
        raise NotAnObject("it is not JSON") from cause
    if not isinstance(found, dict):
        raise NotAnObject("it is not an object")
    return found


def _words(value: object) -> str:
    return value[:_MAX_WORDS] if isinstance(value, str) else ""


def _seconds(text: str) -> float | None:
    return float(min(int(text), _MAX_RETRY)) if text.isdecimal() and len(text) < 20 else None
