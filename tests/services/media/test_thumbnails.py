"""What cannot be drawn is not tried again and again."""

import pytest

from homeserver.services.media.files import ContentFiles
from homeserver.services.media.library import Announced
from homeserver.services.media.shelf import Shelf
from homeserver.services.media.studio import CannotDraw, Studio
from homeserver.services.media.thumbnails import Thumbnails, image_type
from homeserver.services.media.uploads import MediaLimits, Uploads
from storage import media
from storage.media import OURS, Label, MediaName
from storage.media_thumbnails import Size
from tests.services.media import images

SIZE = Size(96, 96, False, False)


async def test_a_failure_is_remembered_for_a_while(database, tmp_path, monkeypatch):
    now, drawn = [1000.0], []
    shelf = Shelf(database, ContentFiles(tmp_path))
    thumbnails = Thumbnails(shelf, Studio(), clock=lambda: now[0])

    async def draw(self, *order):
        drawn.append(order)
        raise CannotDraw("broken")

    async def content():
        yield images.image()

    monkeypatch.setattr(Studio, "draw", draw)
    uploads = Uploads(shelf, Announced(), MediaLimits(upload_bytes=10**6))
    media_id = await uploads.upload(1, content(), Label("image/png"))
    async with database.read() as conn:
        medium = await media.find(conn, MediaName(OURS, media_id))
    for later, tries in ((0, 1), (599, 1), (2, 2)):
        now[0] += later
        with pytest.raises(CannotDraw, match="broken"):
            await thumbnails.get(medium.content, SIZE)
        assert len(drawn) == tries


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (images.image("PNG"), "image/png"),
        (images.image("JPEG"), "image/jpeg"),
        (images.image("GIF"), "image/gif"),
        (images.image("WEBP"), "image/webp"),
        (images.image("AVIF"), "image/avif"),
        (images.image("BMP"), None),
        (images.image("TIFF"), None),
        (b"RIFF1234WAVE", None),
        (b"<svg/>", None),
        (b"", None),
    ],
)
def test_what_the_first_bytes_tell(content, kind):
    assert image_type(content[:16]) == kind
