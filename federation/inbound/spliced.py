"""Answers spliced from stored bytes: events enter them as they were signed, and are never parsed for it."""

from collections.abc import AsyncIterator, Sequence

import orjson

from homeserver.services.room_export import RoomExport


def transaction(server_name: str, now: int, pdus: Sequence[bytes]) -> bytes:
    """What an event, or a stretch of history, is answered with [ss "Transactions"]."""
    return b'{"origin":%b,"origin_server_ts":%d,"pdus":[%b]}' % (
        orjson.dumps(server_name),
        now,
        b",".join(pdus),
    )


async def listed(export: RoomExport, lists: Sequence[tuple[str, Sequence[int]]]) -> AsyncIterator[bytes]:
    """An object of lists of events, given by number, in pieces."""
    opening = b"{"
    for name, nids in lists:
        yield opening + orjson.dumps(name) + b":"
        async for chunk in export.chunks(nids):
            yield chunk
        opening = b","
    yield b"}"
