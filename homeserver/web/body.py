"""Reading a request's body: within its size limit, within its time, or the specified error."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from homeserver.core.errors import MatrixError, too_large

_BROKEN = (web.RequestPayloadError, HttpProcessingError, ConnectionError)
CHUNK_TIMEOUT = 60.0


async def read_body(request: web.BaseRequest, *, limit: int, timeout: float) -> bytes:
    """The whole body, at most `limit` bytes after decompression."""
    check_declared_length(request, limit)
    try:
        if request.content.is_eof():
            body = request.content.read_nowait()  # the usual case: it came with the head
        else:
            invite_body(request)
            async with asyncio.timeout(timeout):
                body = await _collect(request, limit)
    except TimeoutError as error:
        raise _late() from error
    except _BROKEN as error:
        raise _unreadable() from error
    if len(body) > limit:
        raise _over(limit)
    return body


def check_declared_length(request: web.BaseRequest, limit: int) -> None:
    """Refuse what says itself that it is too large, before a byte of it is read."""
    if (request.content_length or 0) > limit:
        raise _over(limit)


def invite_body(request: web.BaseRequest) -> None:
    """Answer "Expect: 100-continue": some clients (curl) send nothing before [RFC 9110 10.1.1]."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


async def _collect(request: web.BaseRequest, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while chunk := await request.content.readany():
        pieces.append(chunk)
        size += len(chunk)
        if size > limit:
            break
    return b"".join(pieces)


async def stream_body(request: web.BaseRequest, *, limit: int) -> AsyncIterator[bytes]:
    """The body as it arrives, each chunk within its time."""
    size = 0
    while True:
        try:
            async with asyncio.timeout(CHUNK_TIMEOUT):
                chunk = await request.content.readany()
        except TimeoutError as error:
            raise _late() from error
        except _BROKEN as error:
            raise _unreadable() from error
        if not chunk:
            return
        size += len(chunk)
        if size > limit:
            raise _over(limit)
        yield chunk


def _late() -> MatrixError:
    return MatrixError(408, "M_UNKNOWN", "The request body did not arrive in time")


def _unreadable() -> MatrixError:
    return MatrixError(400, "M_UNKNOWN", "The request body could not be read")


def _over(limit: int) -> MatrixError:
    return too_large(f"The request body exceeds {limit} bytes")
