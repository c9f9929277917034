"""Messages between devices: queues of our devices, and what has been sent and delivered already.

Reading and emptying a queue belongs to sync (`user_news`), other servers' queues are in `outbound_to_device`.
"""

from collections.abc import Iterator, Sequence

from attrs import frozen

from storage.binary_copy import bytea, copy_encoded, int4, int8, row_of, text
from storage.database import Connection

ALL_DEVICES = "*"
MANY = 50  # messages; so many are copied, which logs pages instead of rows


Addressed = tuple[int, str, bytes]  # the number of a user of ours, a device id or `*`, the content as JSON
Delivery = tuple[int, int, int]  # the numbers of a device, of a parcel and of a message, both from 1


@frozen
class Parcel:
    """What is sent to many devices at once."""

    sender: str
    type: str
    messages: Sequence[Addressed]


_TO_NAMED = """
    SELECT d.device_nid, m.ord, m.number::int
      FROM unnest($1::int[], $2::int[], $3::text[]) WITH ORDINALITY AS m(ord, user_nid, device_id, number)
      JOIN devices d ON d.user_nid = m.user_nid AND d.device_id = m.device_id
    """

_TO_ALL = """
    SELECT DISTINCT ON (d.device_nid, m.ord) d.device_nid, m.ord, m.number::int
      FROM unnest($1::int[], $2::int[], $3::text[]) WITH ORDINALITY AS m(ord, user_nid, device_id, number)
      JOIN devices d ON d.user_nid = m.user_nid AND m.device_id IN (d.device_id, '*')
     ORDER BY d.device_nid, m.ord, m.device_id = '*'
    """

_COLUMNS = ("device_nid", "position", "ord", "sender", "type", "content")


async def deliver(conn: Connection, position: int, parcels: Sequence[Parcel]) -> None:
    """Put messages into the queues of those devices that exist, one a device and parcel."""
    rows = [
        (number, *message) for number, parcel in enumerate(parcels, start=1) for message in parcel.messages
    ]
    if not rows:
        return
    numbers, user_nids, device_ids, contents = map(list, zip(*rows, strict=True))
    found = _TO_ALL if ALL_DEVICES in device_ids else _TO_NAMED  # sorting them costs, and few are for all
    if len(rows) < MANY:
        await conn.execute(
            f"""
            INSERT INTO to_device (device_nid, position, ord, sender, type, content)
            SELECT n.device_nid, $4, n.ord, ($5::text[])[n.ord], ($6::text[])[n.ord], ($7::text[])[n.number]
              FROM ({found}) AS n(device_nid, ord, number)
            """,  # noqa: S608 (one of two texts above)
            numbers,
            user_nids,
            device_ids,
            position,
            [parcel.sender for parcel in parcels],
            [parcel.type for parcel in parcels],
            [content.decode() for content in contents],
        )
        return
    deliveries = [(row[0], row[1], row[2]) for row in await conn.fetch(found, numbers, user_nids, device_ids)]
    deliveries.sort()
    await copy_encoded(conn, "to_device", _COLUMNS, _encoded(position, parcels, contents, deliveries))


def _encoded(
    position: int, parcels: Sequence[Parcel], contents: Sequence[bytes], deliveries: Sequence[Delivery]
) -> Iterator[bytes]:
    heads = [
        int8(position) + int4(number) + text(parcel.sender) + text(parcel.type)
        for number, parcel in enumerate(parcels, start=1)
    ]
    for device_nid, parcel, message in deliveries:
        yield row_of(len(_COLUMNS), int4(device_nid), heads[parcel - 1], bytea(contents[message - 1]))


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
