"""Thumbnails as clients and servers ask for them: the same parameters, the same errors [cs "Thumbnails"]."""

from homeserver.core.errors import MatrixError, too_large
from homeserver.services.media.library import content_of
from homeserver.services.media.studio import CannotDraw, TooLargeToDraw
from homeserver.services.media.thumbnails import Thumbnails
from homeserver.web.call import Call
from storage.media import OURS, Medium
from storage.media_thumbnails import Size, Thumbnail

_MAX_SIDE = 100_000


def wished_size(call: Call) -> Size:
    """What the query asks for; animated only where it says so."""
    return Size(
        min(call.query.integer("width", least=1), _MAX_SIDE),
        min(call.query.integer("height", least=1), _MAX_SIDE),
        call.query.choice("method", ("crop", "scale"), "scale") == "crop",
        call.query.boolean("animated", False),
    )


async def drawn(thumbnails: Thumbnails, medium: Medium, size: Size) -> Thumbnail:
    """The thumbnail, or the specified refusal."""
    try:
        return await thumbnails.get(content_of(medium), size)
    except TooLargeToDraw as cause:
        if medium.name.origin == OURS:
            raise too_large("The image is too large for a thumbnail") from cause
        raise MatrixError(502, "M_TOO_LARGE", "The image is too large for a thumbnail") from cause
    except CannotDraw as cause:
        refusal = "There is no thumbnail: the file is no image that this server can read"
        raise MatrixError(400, "M_UNKNOWN", refusal) from cause
