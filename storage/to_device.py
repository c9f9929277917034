"""Messages between devices: queues of our devices, and what has been sent and delivered already.

Reading and emptying a queue belongs to sync (`user_news`), other servers' queues are in `outbound_to_device`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from struct import Struct

from attrs import frozen

from storage.binary_copy import copy_encoded, int4, int8, text
from storage.database import Connection

ALL_DEVICES = "*"
MANY = 50  # messages; so many are copied, which logs pages instead of rows

Letters = Mapping[str, bytes]  # device id or `*` -> the content as JSON
Delivery = tuple[int, int, bytes]  # the numbers of a device and of a parcel, from 1; the content


@frozen
class Parcel:
    """What is sent to many devices at once, by the numbers of users of ours."""

    sender: str
    type: str
    messages: Mapping[int, Letters]


async def deliver(conn: Connection, position: int, parcels: Sequence[Parcel]) -> None:
    """Put messages into the queues of those devices that exist, one a device and parcel."""
    count = sum(len(letters) for parcel in parcels for letters in parcel.messages.values())
    if count >= MANY:
        await _copy(conn, position, parcels)
    elif count:
        await _insert(conn, position, parcels)


async def _insert(conn: Connection, position: int, parcels: Sequence[Parcel]) -> None:
    """Few of them: one statement."""
    rows = [
        (number, user_nid, device_id, content.decode())
        for number, parcel in enumerate(parcels, start=1)
        for user_nid, letters in parcel.messages.items()
        for device_id, content in letters.items()
    ]
    numbers, user_nids, device_ids, contents = map(list, zip(*rows, strict=True))
    await conn.execute(
        """
        INSERT INTO to_device (device_nid, position, ord, sender, type, content)
        SELECT DISTINCT ON (d.device_nid, m.ord)
               d.device_nid, $5, m.ord, ($6::text[])[m.ord], ($7::text[])[m.ord], m.content
          FROM unnest($1::int[], $2::int[], $3::text[], $4::text[]) AS m(ord, user_nid, device_id, content)
          JOIN devices d ON d.user_nid = m.user_nid AND m.device_id IN (d.device_id, '*')
         ORDER BY d.device_nid, m.ord, m.device_id = '*'
        """,
        numbers,
        user_nids,
        device_ids,
        contents,
        position,
        [parcel.sender for parcel in parcels],
        [parcel.type for parcel in parcels],
    )


async def _copy(conn: Connection, position: int, parcels: Sequence[Parcel]) -> None:
    """Many of them, in the order of the queues' index."""
    devices = await _devices(conn, {user_nid for parcel in parcels for user_nid in parcel.messages})
    deliveries = sorted(_deliveries(parcels, devices), key=lambda one: one[:2])
    heads = [
        int8(position) + int4(number) + text(parcel.sender) + text(parcel.type)
        for number, parcel in enumerate(parcels, start=1)
    ]
    await copy_encoded(conn, "to_device", _COLUMNS, _encoded(heads, deliveries))


async def _devices(conn: Connection, user_nids: Iterable[int]) -> dict[int, list[tuple[str, int]]]:
    """The ids and numbers of users' devices. The driver looks at every element and row, so there are few.

    A join, as `= ANY` of what is no constant goes through all of it for each row.
    """
    row = await conn.fetchrow(
        """
        SELECT array_agg(user_nid), array_agg(device_id), array_agg(device_nid)
          FROM unnest($1::text::int[]) AS wanted(user_nid)
          JOIN devices USING (user_nid)
        """,
        "{" + ",".join(map(str, user_nids)) + "}",
    )
    assert row is not None
    found: dict[int, list[tuple[str, int]]] = {}
    for user_nid, device_id, device_nid in zip(*(column or () for column in row), strict=True):
        found.setdefault(user_nid, []).append((device_id, device_nid))
    return found


def _deliveries(
    parcels: Sequence[Parcel], devices: Mapping[int, Sequence[tuple[str, int]]]
) -> Iterator[Delivery]:
    """What is for a device goes before what is for all."""
    for number, parcel in enumerate(parcels, start=1):
        for user_nid, letters in parcel.messages.items():
            for_all = letters.get(ALL_DEVICES)
            for device_id, device_nid in devices.get(user_nid, ()):
                content = letters.get(device_id, for_all)
                if content is not None:
                    yield device_nid, number, content


_COLUMNS = ("device_nid", "position", "ord", "sender", "type", "content")
_BEGIN = Struct("!hii").pack  # how many columns; the first one: its length and value
_LENGTH = Struct("!i").pack
_TOGETHER = 16  # rows: joined at once for speed, and not too large


def _encoded(heads: Sequence[bytes], deliveries: Sequence[Delivery]) -> Iterator[bytes]:
    """Some rows a piece. `heads`: of each parcel, all columns between the device and the content."""
    count = len(_COLUMNS)
    for start in range(0, len(deliveries), _TOGETHER):
        fields = (
            (_BEGIN(count, 4, device_nid), heads[number - 1], _LENGTH(len(content)), content)
            for device_nid, number, content in deliveries[start : start + _TOGETHER]
        )
        yield b"".join([field for row in fields for field in row])


async def note_transaction(
    conn: Connection, device_nid: int, endpoint: str, txn_id: str, *, now: int
) -> bool:
    """Remember that a request has been done; False if it had been."""
    added = await conn.fetchval(
        """
        INSERT INTO transactions (device_nid, endpoint, txn_id, answer, created_ts)
        VALUES ($1, $2, $3, '{}', $4)
            ON CONFLICT DO NOTHING
        RETURNING 1
        """,
        device_nid,
        endpoint,
        txn_id,
        now,
    )
    return added is not None


async def note_received(conn: Connection, origin: str, message_ids: Sequence[str], *, now: int) -> set[str]:
    """Remember EDUs of another server; gives those that had not come before."""
    rows = await conn.fetch(
        """
        INSERT INTO received_to_device (origin, message_id, received_ts)
        SELECT DISTINCT $1, message_id, $3::bigint FROM unnest($2::text[]) AS message_id
            ON CONFLICT DO NOTHING
        RETURNING message_id
        """,
        origin,
        message_ids,
        now,
    )
    return {row[0] for row in rows}


async def forget_before(conn: Connection, transactions: int, received: int) -> None:
    """Drop what is too old to be repeated."""
    await conn.execute("DELETE FROM transactions WHERE created_ts < $1", transactions)
    await conn.execute("DELETE FROM received_to_device WHERE received_ts < $1", received)
