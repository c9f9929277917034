"""The leanest HTTP/1.1 client that serves: the generator must not be what limits a server.

One keep-alive connection, one request at a time, whole answers. An answer has a Content-Length or is chunked.
"""

import asyncio
from typing import cast

from attrs import frozen

REQUEST_SECONDS = 180.0


@frozen
class Address:
    """Where a server listens."""

    host: str
    port: int


@frozen
class Answer:
    """A whole answer."""

    status: int
    body: bytes


class RequestFailed(Exception):
    """The server answered an error, or not at all: the figures of such a run mean nothing."""


class Connection:
    """Requests one after another over one TCP connection, opened again when the server let it go."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._host = f"\r\nHost: {address.host}:{address.port}\r\n"
        self._exchange: _Exchange | None = None

    @property
    def closed(self) -> bool:
        return self._exchange is None or self._exchange.lost

    async def request(
        self,
        method: str,
        target: str,
        *,
        token: str = "",
        authorization: str = "",
        body: bytes = b"",
        content_type: str = "application/json",
    ) -> Answer:
        """Send, and wait for the answer. `authorization` is the header of a server, `token` a client's."""
        if self._exchange is None or self.closed:
            self._exchange = await self._open()
        head = f"{method} {target} HTTP/1.1{self._host}"
        if token:
            authorization = f"Bearer {token}"
        if authorization:
            head += f"Authorization: {authorization}\r\n"
        if method != "GET":
            head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                return await self._exchange.send(head.encode() + b"\r\n" + body)
        except BaseException:
            # An answer that may still come would be taken for that of the next request.
            self.close()
            raise

    def close(self) -> None:
        if self._exchange is not None:
            self._exchange.close()
            self._exchange = None

    async def _open(self) -> "_Exchange":
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(REQUEST_SECONDS):
            _, exchange = await loop.create_connection(_Exchange, self._address.host, self._address.port)
        return exchange


def parse_answer(received: bytearray) -> Answer | None:
    """The answer, once all of it has been received."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(received[:end]).lower()
    status, start = int(head[9:12]), end + 4
    if b"\r\ntransfer-encoding: chunked" in head:
        if not received.endswith(b"0\r\n\r\n"):
            return None
        body = _join_chunks(received, start)
        return None if body is None else Answer(status, body)
    at = head.find(b"\r\ncontent-length:")
    length = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    if len(received) < start + length:
        return None
    return Answer(status, bytes(received[start : start + length]))


def _join_chunks(received: bytearray, at: int) -> bytes | None:
    """The chunks' content; None when the last chunk is still to come."""
    chunks: list[bytearray] = []
    while (line_end := received.find(b"\r\n", at)) >= 0:
        size = int(received[at:line_end].split(b";", 1)[0], 16)
        if size == 0:
            return b"".join(chunks)
        at = line_end + 2
        chunks.append(received[at : at + size])
        at += size + 2
    return None


class _Exchange(asyncio.Protocol):
    """The bytes of one connection."""

    def __init__(self) -> None:
        self.lost = False
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._answer: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one by behavior, not by class.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(RequestFailed("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        answer = parse_answer(self._received)
        if answer is not None:
            self._received.clear()
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(answer)

    def send(self, request: bytes) -> "asyncio.Future[Answer]":
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        self.lost = True
        if self._transport is not None:
            self._transport.abort()
