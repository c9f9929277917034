"""Media: how their services are connected, and what clients and other servers may ask."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from attrs import frozen

from client_api.content_repository import DownloadsApi, UploadsApi
from client_api.served_media import MediaServing
from client_api.url_previews import UrlPreviewsApi
from federation.client.media import MediaRequests
from federation.inbound.content_repository import ContentRepositoryApi
from federation.remote_media import FetchLimits, MediaFinder
from homeserver.app.config import Config
from homeserver.app.foundation import Foundation
from homeserver.app.media_admin import MediaAdmin
from homeserver.app.operators import operators
from homeserver.app.peer_parts import PeerParts
from homeserver.core.networks import Networks
from homeserver.services.media.files import ContentFiles
from homeserver.services.media.keeping import Keeping
from homeserver.services.media.library import Announced, Library
from homeserver.services.media.removal import Removal
from homeserver.services.media.shelf import Shelf
from homeserver.services.media.studio import Studio, StudioLimits
from homeserver.services.media.thumbnails import Thumbnails
from homeserver.services.media.uploads import MediaLimits, Uploads
from homeserver.services.url_preview.previews import ImageCopies, PageReader, Previews
from homeserver.services.url_preview.web_pages import Sites, WebPages
from homeserver.web.endpoint import Endpoint


@frozen
class MediaParts:
    """What `assemble` takes over."""

    endpoints: list[Endpoint]
    tasks: Mapping[str, Callable[[], Awaitable[None]]]


def media_parts(config: Config, foundation: Foundation, peers: PeerParts) -> MediaParts:
    """Files, thumbnails, and the media of other servers."""
    database, name, options = foundation.database, config.server.name, config.media
    files = ContentFiles(config.server.folder / "media")
    shelf, announced = Shelf(database, files), Announced()
    keeping, library = Keeping(shelf, options.cache_bytes), Library(shelf, announced)
    uploads = Uploads(shelf, announced, upload_limits(config))
    studio = Studio(studio_limits(config))
    thumbnails = Thumbnails(shelf, studio)
    previews = url_previews(config, uploads, studio) if config.url_previews.enabled else None
    fetching = FetchLimits(options.remote_bytes, authenticated=not options.unauthenticated)
    finder = MediaFinder(library, keeping, MediaRequests(peers.requests), fetching)
    serving = MediaServing(finder, thumbnails, files, name)
    endpoints = [
        *UploadsApi(uploads, name).endpoints(),
        *DownloadsApi(serving).endpoints(),
        *MediaAdmin(Removal(shelf), operators(config), name).endpoints(),
        *UrlPreviewsApi(previews).endpoints(),
        *ContentRepositoryApi(library, keeping, thumbnails, files, name).endpoints(),
    ]

    async def until_stopped() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await finder.stop()
            if previews is not None:
                await previews.stop()
            await thumbnails.stop()

    return MediaParts(endpoints, {"media": keeping.run, "thumbnails": until_stopped})


def url_previews(config: Config, uploads: Uploads, studio: Studio) -> Previews:
    """What asks web pages."""
    options = config.url_previews
    pages = WebPages(Networks(options.allowed_networks), Sites(options.allowed_hosts, options.denied_hosts))
    images = ImageCopies(uploads, studio, config.server.name, options.image_bytes)
    return Previews(pages, PageReader(), images)


def upload_limits(config: Config) -> MediaLimits:
    """What users may upload."""
    options = config.media
    return MediaLimits(
        upload_bytes=options.upload_bytes,
        user_bytes=options.user_bytes,
        user_files=options.user_files,
        pending=options.pending_uploads,
        pending_ms=options.pending_lifetime * 1000,
        authenticated=not options.unauthenticated,
    )


def studio_limits(config: Config) -> StudioLimits:
    """What thumbnails may cost."""
    options = config.media
    return StudioLimits(options.thumbnail_pixels, options.thumbnail_seconds, options.thumbnail_processes)
