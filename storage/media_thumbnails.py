"""Small forms of images, each made once."""

from attrs import frozen

from storage.database import Connection
from storage.media import Content


@frozen
class Size:
    """A form that thumbnails come in."""

    width: int
    height: int
    crop: bool
    animated: bool


@frozen
class Thumbnail:
    """A small form of an image. Its content may be the image's own."""

    content: Content
    content_type: str


async def find(conn: Connection, source: bytes, size: Size) -> Thumbnail | None:
    """The thumbnail of this size."""
    row = await conn.fetchrow(
        """
        SELECT digest, size, content_type FROM media_thumbnails
         WHERE source = $1 AND width = $2 AND height = $3 AND crop = $4 AND animated = $5
        """,
        source,
        size.width,
        size.height,
        size.crop,
        size.animated,
    )
    return Thumbnail(Content(row["digest"], row["size"]), row["content_type"]) if row is not None else None


async def insert(conn: Connection, source: bytes, size: Size, made: Thumbnail) -> None:
    """Remember a thumbnail, if a medium still has its source."""
    await conn.execute(
        """
        INSERT INTO media_thumbnails (source, width, height, crop, animated, digest, size, content_type)
        SELECT $1, $2, $3, $4, $5, $6, $7, $8 WHERE EXISTS (SELECT FROM media WHERE digest = $1)
        ON CONFLICT DO NOTHING
        """,
        source,
        size.width,
        size.height,
        size.crop,
        size.animated,
        made.content.digest,
        made.content.size,
        made.content_type,
    )
