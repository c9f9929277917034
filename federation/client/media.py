"""Media of other servers, streamed [ss "Content Repository"]."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from attrs import frozen

from federation.client import shapes
from federation.client.paths import federation_path, joined
from federation.protocol.multipart import InvalidMultipart, Part, Parts, boundary_of
from federation.transport.requests import PeerRefused, PeerRequests, Query, Streamed

_WAIT_FOR_UPLOAD = 20_000  # ms: what the specification has as the default
_MAX_METADATA = 64 * 1024  # bytes; today it is always {}


@frozen
class RemoteMedia:
    """A medium as it comes in. Headers are the peer's word, and None where it did not say."""

    content_type: str | None
    content_disposition: str | None
    chunks: AsyncIterator[bytes]


@frozen
class MediaRequests:
    """Both are context managers: the media are read inside. `max_bytes` are those of the patience."""

    requests: PeerRequests

    @asynccontextmanager
    async def download(
        self, destination: str, media_id: str, *, timeout_ms: int = _WAIT_FOR_UPLOAD
    ) -> AsyncIterator[RemoteMedia]:
        """A medium as it was uploaded."""
        async with self._media(destination, "download", media_id, {"timeout_ms": timeout_ms}) as media:
            yield media

    @asynccontextmanager
    async def thumbnail(
        self, destination: str, media_id: str, params: Mapping[str, str | int]
    ) -> AsyncIterator[RemoteMedia]:
        """A small form of it; `params` are width, height, method and so on."""
        async with self._media(destination, "thumbnail", media_id, params) as media:
            yield media

    @asynccontextmanager
    async def _media(
        self, destination: str, kind: str, media_id: str, query: Query
    ) -> AsyncIterator[RemoteMedia]:
        path = federation_path("v1", "media", kind, media_id)
        begun = False
        try:
            async with self.requests.stream(destination, path, query) as streamed:
                begun = True
                async with self._unwrapped(destination, streamed) as media:
                    yield media
        except PeerRefused as refused:
            if begun or refused.errcode != "M_UNRECOGNIZED":
                raise
            async with self._of_old(destination, kind, media_id, query) as media:
                yield media

    @asynccontextmanager
    async def _unwrapped(self, destination: str, streamed: Streamed) -> AsyncIterator[RemoteMedia]:
        """The second part, or what its Location leads to."""
        reading = _Reading(destination, streamed)
        part = await reading.second_part()
        location = part.headers.get("location")
        if location is None:
            yield _media_of(part.headers, reading.chunks())
            return
        async with self.requests.stream_elsewhere(destination, location) as elsewhere:
            yield _media_of(elsewhere.headers, elsewhere.chunks)

    @asynccontextmanager
    async def _of_old(
        self, destination: str, kind: str, media_id: str, query: Query
    ) -> AsyncIterator[RemoteMedia]:
        """COMPAT(servers before 1.11): the endpoints for clients, which no server need be asked through."""
        path = f"/_matrix/media/v3/{joined(kind, destination, media_id)}"
        told = {**query, "allow_remote": "false"}
        async with self.requests.stream(destination, path, told) as streamed:
            yield _media_of(streamed.headers, streamed.chunks)


class _Reading:
    """The two parts of an answer."""

    def __init__(self, destination: str, streamed: Streamed) -> None:
        self._destination = destination
        self._streamed = streamed
        self._parts: Parts | None = None
        self._ready: list[Part | bytes] = []

    async def second_part(self) -> Part:
        """Past the first part, which holds metadata."""
        begun = metadata = 0
        async for piece in self._pieces():
            if isinstance(piece, bytes):
                metadata += len(piece)
            else:
                begun += 1
                if begun == 2:
                    return piece
            if metadata > _MAX_METADATA:
                break
        raise shapes.unreadable(self._destination, "no media in it")

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes of the second part."""
        assert self._parts is not None
        async for piece in self._pieces():
            if isinstance(piece, Part):
                return
            yield piece
        if not self._parts.ended:
            raise shapes.unreadable(self._destination, "the media break off")

    async def _pieces(self) -> AsyncIterator[Part | bytes]:
        try:
            if self._parts is None:
                self._parts = Parts(boundary_of(self._streamed.headers.get("Content-Type", "")))
            while True:
                while self._ready:
                    yield self._ready.pop(0)
                if self._parts.ended:
                    return
                chunk = await anext(self._streamed.chunks, None)
                if chunk is None:
                    return
                self._ready = self._parts.feed(chunk)
        except InvalidMultipart as cause:
            raise shapes.unreadable(self._destination, str(cause)) from cause


def _media_of(headers: Mapping[str, str], chunks: AsyncIterator[bytes]) -> RemoteMedia:
    lower = {name.lower(): value for name, value in headers.items()}
    return RemoteMedia(lower.get("content-type"), lower.get("content-disposition"), chunks)
