"""Images for tests, good and hostile ones."""

import io
import struct
import zlib

from PIL import Image

RED, BLUE = (255, 0, 0), (0, 0, 255)


def image(kind="PNG", size=(400, 200), mode="RGB", **options) -> bytes:
    """Left half red, right half blue."""
    made = Image.new("RGB", size, RED)
    made.paste(BLUE, (size[0] // 2, 0, size[0], size[1]))
    return written(made.convert(mode), kind, **options)


def transparent(size=(400, 200)) -> bytes:
    made = Image.new("RGBA", size, (255, 0, 0, 0))
    made.paste((0, 0, 255, 255), (0, 0, size[0] // 2, size[1]))
    return written(made, "PNG")


def animation(kind="GIF", size=(200, 100), frames=3) -> bytes:
    """Each frame in another color."""
    drawn = [Image.new("RGB", size, (80 * n % 256, 40, 255 - 80 * n % 256)) for n in range(frames)]
    return written(drawn[0], kind, save_all=True, append_images=drawn[1:], duration=50)


def sideways(size=(400, 200)) -> bytes:
    """A JPEG that is to be turned by a quarter."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return image("JPEG", size, exif=exif)


def written(made, kind, **options) -> bytes:
    into = io.BytesIO()
    made.save(into, kind, **options)
    return into.getvalue()


def read(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


# Hostile ones


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + b"".join(chunks) + png_chunk(b"IEND", b"")


def bomb(width=60_000, height=60_000) -> bytes:
    """A few kilobytes that are ten gigabytes of pixels."""
    return png(width, height, png_chunk(b"IDAT", zlib.compress(bytes(4_000_000), 9)))


def honest_bomb(side=5_500) -> bytes:
    """Within the limit of pixels, and as expensive as that allows."""
    return png(side, side, png_chunk(b"IDAT", zlib.compress(bytes(side * (3 * side + 1)), 9)))


def text_bomb() -> bytes:
    """A text of half a gigabyte, packed."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(2**20)) for _ in range(512)) + packer.flush()
    return png(
        64,
        64,
        png_chunk(b"zTXt", b"Comment\0\0" + packed),
        png_chunk(b"IDAT", zlib.compress(bytes(64 * 193))),
    )


def endless_gif(frames=50_000) -> bytes:
    """Very many frames, each of a few bytes."""
    head = b"GIF89a" + struct.pack("<HHBBB", 3000, 3000, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = (
        b"\x21\xf9\x04\0\x01\0\0\0" + b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    )
    return head + frame * frames + b";"
