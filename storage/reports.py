"""Rows of `reports`: what users told the operator."""

from typing import Any

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


@frozen(kw_only=True)
class KeptReport:
    """A report with its number, who made it, and who wrote the event that it is about."""

    number: int
    report: Report
    reporter: str
    event: bytes | None = None


_KEPT = """
SELECT r.report_nid, r.received_ts, r.reporter_nid, r.room_id, r.event_id, r.user_id, r.reason, a.user_id AS reporter
  FROM reports r LEFT JOIN accounts a ON a.user_nid = r.reporter_nid
"""


async def page_of_reports(conn: Connection, before: int | None, limit: int) -> list[KeptReport]:
    """Reports, the latest first, from before one on."""
    rows = await conn.fetch(
        _KEPT + " WHERE $1::bigint IS NULL OR report_nid < $1 ORDER BY report_nid DESC LIMIT $2",
        before,
        limit,
    )
    return [_kept(row) for row in rows]


async def find_report(conn: Connection, number: int) -> KeptReport | None:
    """One, with the event that it is about if we have that."""
    row = await conn.fetchrow(
        f"SELECT k.*, e.json FROM ({_KEPT} WHERE report_nid = $1) AS k"  # noqa: S608 (our own text)
        " LEFT JOIN events e ON e.event_id = k.event_id",
        number,
    )
    return None if row is None else _kept(row, row["json"])


async def count_reports(conn: Connection) -> int:
    """How many are kept."""
    count: int = await conn.fetchval("SELECT count(*) FROM reports")
    return count


async def delete_report(conn: Connection, number: int) -> bool:
    """It is dealt with; False if there is none."""
    gone = await conn.fetchval("DELETE FROM reports WHERE report_nid = $1 RETURNING 1", number)
    return gone is not None


def _kept(row: Any, event: bytes | None = None) -> KeptReport:
    report = Report(
        received_ts=row["received_ts"],
        reporter_nid=row["reporter_nid"],
        room_id=row["room_id"],
        event_id=row["event_id"],
        user_id=row["user_id"],
        reason=row["reason"],
    )
    return KeptReport(number=row["report_nid"], report=report, reporter=row["reporter"] or "", event=event)
