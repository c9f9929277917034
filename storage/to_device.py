"""Messages between devices: queues of our devices, and what has been sent and delivered already.

Reading and emptying a queue belongs to sync (`user_news`), other servers' queues are in `outbound_to_device`.
"""

from collections.abc import Sequence

from attrs import frozen

from storage.database import Connection

ALL_DEVICES = "*"


@frozen
class Addressed:
    """A message for one device of a user of ours, or for all of them; `content` is JSON."""

    user_nid: int
    device_id: str
    content: str


async def deliver(
    conn: Connection, position: int, sender: str, kind: str, messages: Sequence[Addressed]
) -> None:
    """Put messages into the queues of those devices that exist, one a device."""
    await conn.execute(
        """
        INSERT INTO to_device (device_nid, position, ord, sender, type, content)
        SELECT DISTINCT ON (d.device_nid) d.device_nid, $1, 0, $2, $3, m.content
          FROM unnest($4::int[], $5::text[], $6::text[]) AS m(user_nid, device_id, content)
          JOIN devices d ON d.user_nid = m.user_nid AND m.device_id IN (d.device_id, '*')
         ORDER BY d.device_nid, m.device_id = '*'
        """,
        position,
        sender,
        kind,
        [message.user_nid for message in messages],
        [message.device_id for message in messages],
        [message.content for message in messages],
    )


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


async def is_transaction_done(conn: Connection, device_nid: int, endpoint: str, txn_id: str) -> bool:
    """Has the request been done already?"""
    found = await conn.fetchval(
        "SELECT 1 FROM transactions WHERE device_nid = $1 AND endpoint = $2 AND txn_id = $3",
        device_nid,
        endpoint,
        txn_id,
    )
    return found is not None


async def note_received(conn: Connection, origin: str, message_id: str, *, now: int) -> bool:
    """Remember an EDU of another server; False if it came before."""
    added = await conn.fetchval(
        """
        INSERT INTO received_to_device (origin, message_id, received_ts) VALUES ($1, $2, $3)
            ON CONFLICT DO NOTHING
        RETURNING 1
        """,
        origin,
        message_id,
        now,
    )
    return added is not None


async def forget_before(conn: Connection, transactions: int, received: int) -> None:
    """Drop what is too old to be repeated."""
    await conn.execute("DELETE FROM transactions WHERE created_ts < $1", transactions)
    await conn.execute("DELETE FROM received_to_device WHERE received_ts < $1", received)
