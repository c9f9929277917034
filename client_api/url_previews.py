"""Client-Server API, "Content repository": what web pages say about themselves."""

from attrs import frozen

from homeserver.core.errors import forbidden
from homeserver.services.url_preview.previews import Previews
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result


@frozen
class UrlPreviewsApi:
    """GET preview_url, with a token at the old paths too [cs "Content repository"]."""

    previews: Previews | None  # None: the operator wants none

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint(
                "GET",
                "/v1/media/preview_url",
                self.preview,
                also=tuple(f"/_matrix/media/{version}/preview_url" for version in ("v3", "r0", "v1")),
                rate="other",
                long_poll=True,
            )
        ]

    async def preview(self, call: Call) -> Result:
        url = call.query.string("url")
        if self.previews is None:
            raise forbidden("This server makes no previews")
        return await self.previews.get(url)
