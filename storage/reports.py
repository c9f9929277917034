"""Rows of `reports`: what users told the operator."""

from attrs import frozen

from storage.database import Connection


@frozen(kw_only=True)
class Report:
    """What somebody found inappropriate, and why."""

    received_ts: int
    reporter_nid: int
    room_id: str | None = None
    event_id: str | None = None
    user_id: str | None = None
    reason: str | None = None


async def insert_report(conn: Connection, report: Report) -> None:
    """Keep it for the operator."""
    await conn.execute(
        """
        INSERT INTO reports (received_ts, reporter_nid, room_id, event_id, user_id, reason)
        VALUES ($1, $2, $3, $4, $5, $6)
        """,
        report.received_ts,
        report.reporter_nid,
        report.room_id,
        report.event_id,
        report.user_id,
        report.reason,
    )


async def count_of_reporter(conn: Connection, reporter_nid: int, after: int) -> int:
    """How much a user has reported since a time."""
    count: int = await conn.fetchval(
        "SELECT count(*) FROM reports WHERE reporter_nid = $1 AND received_ts > $2", reporter_nid, after
    )
    return count


async def user_is_known(conn: Connection, user_id: str) -> bool:
    """Has the user an account here, or been in a room here?"""
    known: bool = await conn.fetchval(
        """
        SELECT EXISTS (SELECT 1 FROM accounts WHERE user_id = $1)
            OR EXISTS (SELECT 1 FROM state_keys WHERE type = 'm.room.member' AND state_key = $1)
        """,
        user_id,
    )
    return known
