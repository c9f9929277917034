"""Server-Server API, "Content Repository": our media, for other servers."""

from collections.abc import AsyncIterator
from secrets import token_hex

from attrs import frozen

from federation.drawn_media import drawn, wished_size
from homeserver.services.media.files import ContentFiles
from homeserver.services.media.keeping import Keeping
from homeserver.services.media.labels import disposition
from homeserver.services.media.library import Library, content_of, gone, media_name
from homeserver.services.media.thumbnails import Thumbnails
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Reply, Result
from storage.media import Content, Medium

_PATH = "/_matrix/federation/v1/media"


@frozen
class ContentRepositoryApi:
    """Only what was uploaded here: other servers' media are asked of those."""

    library: Library
    keeping: Keeping
    thumbnails: Thumbnails
    files: ContentFiles
    server_name: str

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint(
                "GET", f"{_PATH}/{kind}/{{mediaId}}", handler, auth=Auth.SERVER, rate="other", long_poll=True
            )
            for kind, handler in (("download", self.download), ("thumbnail", self.thumbnail))
        ]

    async def download(self, call: Call) -> Result:
        medium = await self._find(call)
        said = medium.label
        shown = disposition(said.content_type, said.file_name)
        return self._reply(content_of(medium), said.content_type, shown)

    async def thumbnail(self, call: Call) -> Result:
        size = wished_size(call)
        made = await drawn(self.thumbnails, await self._find(call), size)
        return self._reply(made.content, made.content_type, "inline")

    async def _find(self, call: Call) -> Medium:
        name = media_name(self.server_name, call.path["mediaId"], self.server_name)
        wait = call.query.integer("timeout_ms", 20_000, least=0) / 1000
        medium = await self.library.find(name, wait=wait)
        if medium is None or not await self.keeping.is_whole(medium):
            raise gone()
        return medium

    def _reply(self, content: Content, content_type: str, shown: str) -> Reply:
        """Two parts: metadata, of which there are none yet, and the file."""
        boundary = token_hex(16)
        head = (
            f"--{boundary}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n--{boundary}\r\n"
            f"Content-Type: {content_type}\r\nContent-Disposition: {shown}\r\n\r\n"
        ).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        length = len(head) + content.size + len(tail)

        async def parts() -> AsyncIterator[bytes]:
            yield head
            async for piece in self.files.read(content, 0, content.size):
                yield piece
            yield tail

        return Reply(
            200,
            parts(),
            {"Content-Length": str(length)},
            f"multipart/mixed; boundary={boundary}",
        )
