"""Many rows at once in the binary form of COPY, which PostgreSQL reads as it is [PostgreSQL "COPY", "Binary Format"].

The driver looks at every value to find out how to write it. Who knows the columns writes a row in a fifth of the time.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import lru_cache
from struct import Struct

from storage.database import Connection

PIECE = (
    64 * 1024
)  # bytes; before the next one others get their turn, and larger ones would be new memory each

# A value becomes a field: its length, then its bytes.
_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
_COUNT, _LENGTH = Struct("!h").pack, Struct("!i").pack
_INT2, _INT4, _INT8, _BOOLEAN = (Struct(form).pack for form in ("!ih", "!ii", "!iq", "!i?"))
_ARRAY = Struct(
    "!iiiiii"
).pack  # length, dimensions, has nulls, type of elements; elements, number of the first one
_EMPTY_ARRAY = Struct("!iiii").pack
_WIDTHS = {"int2": 2, "int4": 4, "int8": 8}
_FORMS = {2: "h", 4: "i", 8: "q"}
_OID_INT8, _OID_INT4 = 20, 23


def int2(value: int | None) -> bytes:
    """A smallint."""
    return _NULL if value is None else _INT2(2, value)


def int4(value: int | None) -> bytes:
    """An integer."""
    return _NULL if value is None else _INT4(4, value)


def int8(value: int | None) -> bytes:
    """A bigint."""
    return _NULL if value is None else _INT8(8, value)


def boolean(value: bool | None) -> bytes:
    """A boolean."""
    return _NULL if value is None else _BOOLEAN(1, value)


def bytea(value: bytes | None) -> bytes:
    """Bytes as they are."""
    return _NULL if value is None else _LENGTH(len(value)) + value


def text(value: str | None) -> bytes:
    """Text, in UTF-8 as in the database."""
    return _NULL if value is None else bytea(value.encode())


def int4s(values: Sequence[int] | None) -> bytes:
    """An array of integers."""
    return _NULL if values is None else _array(tuple(values), _OID_INT4)


def int8s(values: Sequence[int] | None) -> bytes:
    """An array of bigints."""
    return _NULL if values is None else _array(tuple(values), _OID_INT8)


@lru_cache(maxsize=256)  # thousands of events cite the same few
def _array(values: tuple[int, ...], oid: int) -> bytes:
    if not values:
        return _EMPTY_ARRAY(12, 0, 0, oid)
    element, size = (int4, 8) if oid == _OID_INT4 else (int8, 12)
    head = _ARRAY(20 + size * len(values), 1, 0, oid, len(values), 1)
    return head + b"".join(map(element, values))


def packed(*kinds: str) -> Callable[..., bytes]:
    """Writes so many fields of integers, none of them null, in one go: ("int4", "int8") takes two."""
    lengths = [_WIDTHS[kind] for kind in kinds]
    pack = Struct("!" + "".join(f"i{_FORMS[length]}" for length in lengths)).pack
    match lengths:
        case [one, two, three]:
            return lambda a, b, c: pack(one, a, two, b, three, c)
        case [one, two, three, four]:
            return lambda a, b, c, d: pack(one, a, two, b, three, c, four, d)
    raise ValueError("three fields or four")


def row_of(columns: int, *fields: bytes) -> bytes:
    """A row of so many columns; several fields may be joined already."""
    return _COUNT(columns) + b"".join(fields)


async def copy_encoded(conn: Connection, table: str, columns: Sequence[str], rows: Iterable[bytes]) -> None:
    """Append rows that `row_of` has written."""
    await conn.copy_to_table(table, source=_pieces(rows), columns=columns, format="binary")


async def _pieces(rows: Iterable[bytes]) -> AsyncIterator[bytes]:
    yield _HEADER
    piece: list[bytes] = []
    size = 0
    for row in rows:
        piece.append(row)
        size += len(row)
        if size >= PIECE:
            yield b"".join(piece)
            piece, size = [], 0
            await asyncio.sleep(0)
    yield b"".join(piece) + _TRAILER
