"""An answer on the wire: one head, one body, one write or, of a file, a few.

aiohttp builds a response from a dictionary of headers; ours hardly ever vary, so the head is joined from ready
bytes, at about a third of the cost. Streams of unknown length take aiohttp's own way.
"""

import asyncio
import time
import zlib
from collections.abc import AsyncIterable, Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

import orjson
from aiohttp import HttpVersion10, web

from homeserver.web.reply import JSON_TYPE, Reply, Result

# [cs "Web Browser Clients"]
CORS: Mapping[str, str] = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS",
    "Access-Control-Allow-Headers": "X-Requested-With, Content-Type, Authorization, Date, If-Match, If-None-Match",
    "Access-Control-Expose-Headers": "ETag, Retry-After, X-Request-Id",
}
# Answers carry private things and are never the same twice; what may be kept (media) says so itself.
_DEFAULTS: Mapping[str, str] = {"Server": "Homing", "Cache-Control": "no-store", **CORS}
PREFLIGHT = Reply(204, b"", {"Access-Control-Max-Age": "86400"})

GZIP_FROM = 2048
THREAD_FROM = 64 * 1024  # compressing more than this takes over a millisecond
ONE_PIECE = 64 * 1024  # to copy more costs more than a second piece
PIECES_A_TURN = 16
_WITHOUT_BODY = frozenset({204, 304})


def _lines(headers: Mapping[str, str]) -> bytes:
    text = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    if text.count("\r") != len(headers) or text.count("\n") != len(headers) or "\0" in text:
        raise ValueError("a header must not contain a line break")
    return text.encode()


_STATUS_LINES = {int(status): f"HTTP/1.1 {int(status)} {status.phrase}\r\n".encode() for status in HTTPStatus}
_DEFAULT_LINES = _lines(_DEFAULTS)


def encode(result: Result) -> Reply:
    """A handler's result as a reply whose body is bytes or a stream."""
    reply = result if type(result) is Reply else Reply(200, result)  # type: ignore[arg-type]
    if isinstance(reply.body, (dict, list)):
        return Reply(reply.status, orjson.dumps(reply.body), reply.headers, reply.content_type)
    return reply


async def compress(reply: Reply, accepted: str) -> Reply:
    """The reply as gzip, if that pays and the client takes it."""
    body = reply.body
    if not isinstance(body, bytes) or len(body) < GZIP_FROM or not _compressible(reply.content_type):
        return reply
    headers = {**reply.headers, "Vary": "Accept-Encoding"}
    if accepts_gzip(accepted):
        body = _gzip(body) if len(body) < THREAD_FROM else await asyncio.to_thread(_gzip, body)
        headers["Content-Encoding"] = "gzip"
    return Reply(reply.status, body, headers, reply.content_type)


def accepts_gzip(accepted: str) -> bool:
    """Does an Accept-Encoding header name gzip, and not only to refuse it?"""
    for item in accepted.lower().split(","):
        coding, _, weight = item.strip().partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _compressible(content_type: str) -> bool:
    return content_type == JSON_TYPE or content_type.startswith("text/")


def _gzip(body: bytes) -> bytes:
    # Level 1: half the size at a tenth of the time of level 9. 31 asks for the gzip format.
    compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
    return compressor.compress(body) + compressor.flush()


class Answer(web.StreamResponse):
    """An answer of known length.

    aiohttp only calls `prepare` and `write_eof`, and asks whether to keep the connection.
    """

    def __init__(self, reply: Reply, request_id: str, *, write_timeout: float) -> None:
        super().__init__(status=reply.status)
        self._reply = reply
        self._request_id = request_id
        self._write_timeout = write_timeout

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write everything at once, or piece by piece, and wait only if the client reads slowly."""
        if self._keep_alive is None:
            self._keep_alive = request.keep_alive
        transport = request.transport
        if transport is None:
            return
        head, body = self._head(request), self._reply.body
        if request.method == "HEAD" or self._reply.status in _WITHOUT_BODY:
            transport.write(head)
        elif not isinstance(body, bytes):
            await self._stream(request, transport, head)
        elif len(body) < ONE_PIECE:
            transport.write(head + body)
        else:
            transport.writelines([head, body])
        if transport.get_write_buffer_size():
            await self._drain(request, transport)

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""

    def _head(self, request: web.BaseRequest) -> bytes:
        reply, body = self._reply, self._reply.body
        lines = [_STATUS_LINES[reply.status], _date_line(int(time.time())), self._header_lines()]
        if reply.status not in _WITHOUT_BODY:
            lines.append(b"Content-Type: %b\r\n" % reply.content_type.encode())
            if isinstance(body, bytes):
                lines.append(b"Content-Length: %d\r\n" % len(body))
        if not self._keep_alive:
            lines.append(b"Connection: close\r\n")
        elif request.version == HttpVersion10:
            lines.append(b"Connection: keep-alive\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)

    def _header_lines(self) -> bytes:
        request_id = b"X-Request-Id: %b\r\n" % self._request_id.encode()
        headers = self._reply.headers
        return request_id + (_lines(with_defaults(headers)) if headers else _DEFAULT_LINES)

    async def _stream(self, request: web.BaseRequest, transport: asyncio.Transport, head: bytes) -> None:
        """The first piece goes with the head. A client that reads as fast as we write waits for others now and then."""
        assert isinstance(self._reply.body, AsyncIterable)
        waiting, turn = [head], 0
        async for piece in self._reply.body:
            if transport.is_closing():
                raise ConnectionResetError("the client has gone")
            request.writer.output_size += len(piece)  # so that no error is written into the midst of it
            transport.writelines([*waiting, piece])
            waiting.clear()
            turn += 1
            if transport.get_write_buffer_size():
                await self._drain(request, transport)
            elif turn % PIECES_A_TURN == 0:
                await asyncio.sleep(0)
        if waiting:
            transport.writelines(waiting)

    async def _drain(self, request: web.BaseRequest, transport: asyncio.Transport) -> None:
        try:
            async with asyncio.timeout(self._write_timeout):
                await request.writer.drain()
        except TimeoutError:
            transport.abort()  # a client that does not read holds memory for nothing


def with_defaults(headers: Mapping[str, str]) -> dict[str, str]:
    """A reply's own headers, and the usual ones that it does not replace."""
    own = {name.lower() for name in headers}
    return {**{name: value for name, value in _DEFAULTS.items() if name.lower() not in own}, **headers}


async def send_stream(
    reply: Reply, request: web.BaseRequest, *, request_id: str, write_timeout: float
) -> web.StreamResponse:
    """Send a body whose length nobody knows chunk by chunk, each within `write_timeout`."""
    assert isinstance(reply.body, AsyncIterable)
    headers = {**with_defaults(reply.headers), "Content-Type": reply.content_type, "X-Request-Id": request_id}
    response = web.StreamResponse(status=reply.status, headers=headers)
    if request.version != HttpVersion10:
        response.enable_chunked_encoding()
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    async for chunk in reply.body:
        async with asyncio.timeout(write_timeout):
            await response.write(chunk)
    await response.write_eof()
    return response


@lru_cache(maxsize=1)
def _date_line(now: int) -> bytes:
    """The Date header [RFC 9110 6.6.1], made once a second."""
    return f"Date: {formatdate(now, usegmt=True)}\r\n".encode()
