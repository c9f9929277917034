"""What other servers sent us and is not judged yet, and the transactions in which it came.

A transaction and its PDUs are written by one statement: either both are there, and the sender has its answer, or
neither. Rows of PDUs go once their event has a verdict; records of transactions after a time.
"""

from collections.abc import Collection, Sequence

from attrs import field, frozen

from storage.database import Connection


@frozen
class ReceivedPdu:
    """A PDU to be kept until it is judged: the bytes that came, for a room we are in."""

    room_nid: int
    event_id: str
    json: bytes = field(repr=False)


@frozen
class ReceivedTransaction:
    """A transaction and the answer its sender gets, however often it asks."""

    origin: str
    txn_id: str
    received_ts: int
    answer: bytes = field(repr=False)


@frozen
class WaitingPdu:
    """A row of `inbound_pdus`. `attempts`: how often it could not be judged for want of other events.

    `early`: it is taken up before its next attempt is due, because one of those events may have come.
    """

    pdu_nid: int
    origin: str
    event_id: str
    attempts: int
    early: bool
    json: bytes = field(repr=False)


async def store(conn: Connection, transaction: ReceivedTransaction, pdus: Sequence[ReceivedPdu]) -> bool:
    """Keep a transaction with its PDUs; False, and nothing is kept, if it had been received before."""
    stored: bool = await conn.fetchval(
        """
        WITH new AS (
            INSERT INTO inbound_transactions (origin, txn_id, received_ts, answer) VALUES ($1, $2, $3, $4)
            ON CONFLICT DO NOTHING RETURNING 1),
        kept AS (
            INSERT INTO inbound_pdus (room_nid, origin, event_id, json)
            SELECT room_nid, $1, event_id, json
              FROM unnest($5::int[], $6::text[], $7::bytea[]) AS n(room_nid, event_id, json)
             WHERE EXISTS (SELECT 1 FROM new))
        SELECT EXISTS (SELECT 1 FROM new)
        """,
        transaction.origin,
        transaction.txn_id,
        transaction.received_ts,
        transaction.answer,
        [pdu.room_nid for pdu in pdus],
        [pdu.event_id for pdu in pdus],
        [pdu.json for pdu in pdus],
    )
    return stored


async def recorded_answer(conn: Connection, origin: str, txn_id: str) -> bytes | None:
    """What the sender of a transaction was answered, if we had it before."""
    answer: bytes | None = await conn.fetchval(
        "SELECT answer FROM inbound_transactions WHERE origin = $1 AND txn_id = $2", origin, txn_id
    )
    return answer


async def forget_transactions(conn: Connection, before_ts: int) -> None:
    """Records of transactions that nobody will repeat any more."""
    await conn.execute("DELETE FROM inbound_transactions WHERE received_ts < $1", before_ts)


async def next_of_room(conn: Connection, room_nid: int, *, now: int, limit: int) -> list[WaitingPdu]:
    """The oldest PDUs of a room that are due."""
    rows = await conn.fetch(
        """
        SELECT pdu_nid, origin, event_id, attempts, attempts > 0 AND retry_ts = 0, json FROM inbound_pdus
         WHERE room_nid = $1 AND retry_ts <= $2
         ORDER BY pdu_nid LIMIT $3
        """,
        room_nid,
        now,
        limit,
    )
    return [WaitingPdu(*row) for row in rows]


async def delete(conn: Connection, pdu_nids: Collection[int]) -> set[int]:
    """PDUs that are judged, or given up; gives those that nobody else had deleted before."""
    rows = await conn.fetch(
        "DELETE FROM inbound_pdus WHERE pdu_nid = ANY($1::bigint[]) RETURNING pdu_nid", list(pdu_nids)
    )
    return {row[0] for row in rows}


async def put_off(conn: Connection, pdu_nids: Collection[int], retry_ts: int, *, failed: bool) -> None:
    """Nobody takes these PDUs up before `retry_ts`; `failed`: this was one more attempt."""
    await conn.execute(
        """
        UPDATE inbound_pdus SET retry_ts = $2, attempts = LEAST(attempts + $3, 32000)
         WHERE pdu_nid = ANY($1::bigint[])
        """,
        list(pdu_nids),
        retry_ts,
        int(failed),
    )


async def make_due(conn: Connection, pdu_nids: Collection[int]) -> None:
    """Something has come that these were put off for."""
    await conn.execute(
        "UPDATE inbound_pdus SET retry_ts = 0 WHERE pdu_nid = ANY($1::bigint[])", list(pdu_nids)
    )


async def make_all_due(conn: Connection) -> None:
    """After a start: whatever was put off has its next attempt now."""
    await conn.execute("UPDATE inbound_pdus SET retry_ts = 1 WHERE retry_ts > 1 OR attempts > 0")


async def rooms_due(conn: Connection, now: int) -> list[int]:
    """Rooms with PDUs that are to be taken up."""
    rows = await conn.fetch("SELECT DISTINCT room_nid FROM inbound_pdus WHERE retry_ts <= $1", now)
    return [row[0] for row in rows]


async def next_retry(conn: Connection) -> int | None:
    """When the first of the PDUs that were put off is due."""
    due: int | None = await conn.fetchval("SELECT min(retry_ts) FROM inbound_pdus WHERE retry_ts > 0")
    return due


async def waiting_by_origin(conn: Connection) -> dict[str, int]:
    """How many PDUs of each server wait."""
    rows = await conn.fetch("SELECT origin, count(*) FROM inbound_pdus GROUP BY origin")
    return {row[0]: row[1] for row in rows}
