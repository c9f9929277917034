"""Rows of `delayed_events`: what is to be said later, and for a while what came of it [MSC4140].

Whoever sends a row claims it first, so that it is not called off meanwhile. A claim counts for a while only: its
holder may have crashed, and the transaction id of the event sees to it that it is sent once all the same.
"""

from typing import Any

from attrs import frozen

from storage.database import Connection

_LOCK = 4140  # first half of the advisory lock on what one user has scheduled

_COLUMNS = (
    "delay_id, user_nid, room_id, type, state_key, content, origin_ts, delay_ms, scheduled_at, finalised_ts, "
    "event_id, error"
)


@frozen(kw_only=True)
class Delayed:
    """An event to be sent at `scheduled_at + delay_ms`, or one that was, or never will be (`finalised_ts`)."""

    delay_id: str
    user_nid: int
    room_id: str
    type: str
    state_key: str | None
    content: str
    delay_ms: int
    scheduled_at: int
    origin_ts: int | None = None
    finalised_ts: int | None = None
    event_id: str | None = None
    error: str | None = None

    @property
    def due(self) -> int:
        return self.scheduled_at + self.delay_ms


async def repeated(conn: Connection, txn_device: int, txn_id: str, room_id: str) -> str | None:
    """The delay id that an earlier request with this transaction id got."""
    found: str | None = await conn.fetchval(
        "SELECT delay_id FROM delayed_events WHERE txn_device = $1 AND txn_id = $2 AND room_id = $3",
        txn_device,
        txn_id,
        room_id,
    )
    return found


async def add(conn: Connection, delayed: Delayed, *, limit: int, once: tuple[int, str] | None) -> int | None:
    """Keep one, unless its user has `limit` already: then the time of the next one that is due, in milliseconds."""
    await conn.execute("SELECT pg_advisory_xact_lock($1, $2)", _LOCK, delayed.user_nid)
    row = await conn.fetchrow(
        "SELECT count(*) AS count, min(scheduled_at + delay_ms) AS next FROM delayed_events"
        " WHERE user_nid = $1 AND finalised_ts IS NULL",
        delayed.user_nid,
    )
    assert row is not None
    if row["count"] >= limit:
        return int(row["next"])
    await conn.execute(
        """
        INSERT INTO delayed_events (delay_id, user_nid, room_id, type, state_key, content, origin_ts, delay_ms,
                                    scheduled_at, txn_device, txn_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        """,
        delayed.delay_id,
        delayed.user_nid,
        delayed.room_id,
        delayed.type,
        delayed.state_key,
        delayed.content,
        delayed.origin_ts,
        delayed.delay_ms,
        delayed.scheduled_at,
        *(once or (None, None)),
    )
    return None


async def find(conn: Connection, delay_id: str) -> Delayed | None:
    """One, whatever has become of it."""
    row = await conn.fetchrow(
        f"SELECT {_COLUMNS} FROM delayed_events WHERE delay_id = $1",  # noqa: S608 (our own column names)
        delay_id,
    )
    return None if row is None else _delayed(row)


async def scheduled_of(conn: Connection, user_nid: int) -> list[Delayed]:
    """What a user has scheduled, the next first."""
    rows = await conn.fetch(
        f"""
        SELECT {_COLUMNS} FROM delayed_events WHERE user_nid = $1 AND finalised_ts IS NULL
         ORDER BY scheduled_at + delay_ms, delay_id
        """,  # noqa: S608 (our own column names)
        user_nid,
    )
    return [_delayed(row) for row in rows]


async def claim(conn: Connection, delay_id: str, *, now: int, stale: int) -> Delayed | None:
    """Take one to send it now; None if it is finalised, or somebody has claimed it since `stale`."""
    row = await conn.fetchrow(
        f"""
        UPDATE delayed_events SET claimed_ts = $2
         WHERE delay_id = $1 AND finalised_ts IS NULL AND (claimed_ts IS NULL OR claimed_ts < $3)
        RETURNING {_COLUMNS}
        """,  # noqa: S608 (our own column names)
        delay_id,
        now,
        stale,
    )
    return None if row is None else _delayed(row)


async def claim_due(conn: Connection, *, now: int, stale: int, limit: int) -> list[Delayed]:
    """Take those whose time has come, in the order of their times."""
    rows = await conn.fetch(
        f"""
        UPDATE delayed_events SET claimed_ts = $1
         WHERE delay_id IN (
               SELECT delay_id FROM delayed_events
                WHERE finalised_ts IS NULL AND scheduled_at + delay_ms <= $1
                  AND (claimed_ts IS NULL OR claimed_ts < $2)
                ORDER BY scheduled_at + delay_ms
                LIMIT $3
                  FOR UPDATE SKIP LOCKED)
        RETURNING {_COLUMNS}
        """,  # noqa: S608 (our own column names)
        now,
        stale,
        limit,
    )
    return sorted(map(_delayed, rows), key=lambda delayed: (delayed.due, delayed.delay_id))


async def next_due(conn: Connection, claim_lasts: int) -> int | None:
    """When the next one is to be sent; what is claimed, when its claim ends."""
    due: int | None = await conn.fetchval(
        """
        SELECT min(greatest(scheduled_at + delay_ms, claimed_ts + $1))
          FROM (SELECT * FROM delayed_events WHERE finalised_ts IS NULL
                 ORDER BY scheduled_at + delay_ms LIMIT 200) AS next
        """,
        claim_lasts,
    )
    return due


async def release(conn: Connection, delay_id: str) -> None:
    """It could not be sent before its time: it stays scheduled."""
    await conn.execute("UPDATE delayed_events SET claimed_ts = NULL WHERE delay_id = $1", delay_id)


async def finalise(
    conn: Connection, delay_id: str, *, now: int, event_id: str | None = None, error: str | None = None
) -> None:
    """It was sent, or could not be."""
    await conn.execute(
        """
        UPDATE delayed_events SET finalised_ts = $2, event_id = $3, error = $4
         WHERE delay_id = $1 AND finalised_ts IS NULL
        """,
        delay_id,
        now,
        event_id,
        error,
    )


async def cancel(conn: Connection, delay_id: str, *, now: int, stale: int) -> bool:
    """Call one off that nobody is sending; False if that is not possible."""
    done = await conn.fetchval(
        """
        UPDATE delayed_events SET finalised_ts = $2
         WHERE delay_id = $1 AND finalised_ts IS NULL AND (claimed_ts IS NULL OR claimed_ts < $3)
        RETURNING 1
        """,
        delay_id,
        now,
        stale,
    )
    return done is not None


async def restart(conn: Connection, delay_id: str, *, now: int, stale: int) -> bool:
    """Let its delay begin anew; False if that is not possible."""
    done = await conn.fetchval(
        """
        UPDATE delayed_events SET scheduled_at = $2, claimed_ts = NULL
         WHERE delay_id = $1 AND finalised_ts IS NULL AND (claimed_ts IS NULL OR claimed_ts < $3)
        RETURNING 1
        """,
        delay_id,
        now,
        stale,
    )
    return done is not None


async def delete_of_user(conn: Connection, user_nid: int) -> None:
    """The account is gone."""
    await conn.execute("DELETE FROM delayed_events WHERE user_nid = $1", user_nid)


async def forget(conn: Connection, before: int, *, keep: int) -> None:
    """Drop what was finalised before a time, and of each user all but the latest."""
    await conn.execute(
        """
        DELETE FROM delayed_events AS d
         USING (SELECT delay_id, finalised_ts,
                       row_number() OVER (PARTITION BY user_nid ORDER BY finalised_ts DESC) AS number
                  FROM delayed_events WHERE finalised_ts IS NOT NULL) AS old
         WHERE d.delay_id = old.delay_id AND (old.finalised_ts < $1 OR old.number > $2)
        """,
        before,
        keep,
    )


def txn_device(user_nid: int) -> int:
    """events.txn_device of what a user had delayed: no device's number; txn_id is "d" and the delay id."""
    return -user_nid


def _delayed(row: Any) -> Delayed:
    return Delayed(**dict(row.items()))
