"""How media are told to browsers, with what keeps them from doing harm there [cs "Content repository"]."""

from collections.abc import Mapping

from attrs import frozen

from federation.drawn_media import drawn, wished_size
from federation.remote_media import MediaFinder
from homeserver.services.media.files import ContentFiles
from homeserver.services.media.labels import disposition
from homeserver.services.media.library import content_of, gone, media_name
from homeserver.services.media.thumbnails import Thumbnails
from homeserver.web.call import Call
from homeserver.web.files import ServedFile, file_reply
from homeserver.web.reply import Reply
from storage.media import Content, Medium

_TAG_LENGTH = 32
# A file behind an mxc URI never changes; a day, because it may be withdrawn.
_KEEP = "max-age=86400, immutable"
_HARMLESS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; "
        "style-src 'unsafe-inline'; object-src 'self';"
    ),
    "Cross-Origin-Resource-Policy": "cross-origin",  # since v1.4
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@frozen
class Wanted:
    """A medium that somebody wants."""

    server_name: str
    media_id: str
    wait_ms: int
    authenticated: bool
    allow_remote: bool = True


@frozen
class MediaServing:
    """Finds the medium, and makes the answer."""

    finder: MediaFinder
    thumbnails: Thumbnails
    files: ContentFiles
    server_name: str

    async def file(self, call: Call, wanted: Wanted, file_name: str | None) -> Reply:
        """As it was uploaded; `file_name` in the place of the uploader's."""
        medium = await self._find(wanted)
        said = medium.label
        shown = disposition(said.content_type, file_name or said.file_name)
        return self._reply(call, content_of(medium), said.content_type, shown, wanted)

    async def thumbnail(self, call: Call, wanted: Wanted) -> Reply:
        """A small form of it."""
        size = wished_size(call)
        medium = await self._find(wanted)
        made = await drawn(self.thumbnails, medium, size)
        shown = f"inline; filename=thumbnail.{made.content_type.removeprefix('image/')}"
        return self._reply(call, made.content, made.content_type, shown, wanted)

    async def _find(self, wanted: Wanted) -> Medium:
        """Without a token nothing is fetched that could not be had without one [MSC3916]."""
        name = media_name(wanted.server_name, wanted.media_id, self.server_name)
        open_to_all = wanted.allow_remote and not self.finder.limits.authenticated
        medium = await self.finder.find(
            name, wait=wanted.wait_ms / 1000, fetch=wanted.authenticated or open_to_all
        )
        if medium.authenticated and not wanted.authenticated:
            raise gone()
        await self.finder.library.used(medium)
        return medium

    def _reply(self, call: Call, content: Content, content_type: str, shown: str, wanted: Wanted) -> Reply:
        secrecy = "private" if wanted.authenticated else "public"
        headers = {"Content-Disposition": shown, "Cache-Control": f"{secrecy}, {_KEEP}", **_HARMLESS}
        served = ServedFile(
            tag=content.digest.hex()[:_TAG_LENGTH],
            size=content.size,
            content_type=content_type,
            read=lambda start, end: self.files.read(content, start, end),
            headers=headers,
        )
        return file_reply(call, served)
