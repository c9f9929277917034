"""Which events notify whom: counted from where users have read, listed, and cleared by nothing but reading.

Rows are written with their events (`storage.batch_statements`). Nothing is ever counted up or down: a count is the
number of rows behind the user's receipts, behind what the user has sent, and behind the join.
"""

from collections.abc import Collection

from attrs import frozen

from storage.database import Connection
from storage.room_batches import NoticeRow

# Where each room ($2) has been read by a user ($1): up to which position, by thread; '' is an unthreaded receipt.
_READ = """
reads AS (
    SELECT r.room_nid, r.thread_id, max(e.position) AS upto
      FROM receipts r JOIN events e ON e.event_nid = r.event_nid
     WHERE r.user_nid = $1 AND r.room_nid = ANY($2::int[]) AND r.kind IN ('m.read', 'm.read.private')
     GROUP BY r.room_nid, r.thread_id
), rooms AS (
    SELECT m.room_nid, greatest(m.since, u.upto) AS after
      FROM local_memberships m LEFT JOIN reads u ON u.room_nid = m.room_nid AND u.thread_id = ''
     WHERE m.user_nid = $1 AND m.room_nid = ANY($2::int[]) AND m.membership = 1
), concerning AS (
    SELECT n.room_nid, n.thread_id, n.position, n.ord, n.highlight, n.sender_nid,
           n.everybody <> ($1 = ANY(n.user_nids)) AND n.sender_nid <> ALL($3::int[]) AS notifies,
           greatest(t.upto, max(n.position) FILTER (WHERE n.sender_nid = $1)
                            OVER (PARTITION BY n.room_nid, n.thread_id)) AS upto
      FROM rooms w
      JOIN notifications n ON n.room_nid = w.room_nid AND n.position > w.after
      LEFT JOIN reads t ON t.room_nid = n.room_nid
                       AND t.thread_id = CASE n.thread_id WHEN '' THEN 'main' ELSE n.thread_id END
), unread AS (
    SELECT * FROM concerning WHERE notifies AND position > coalesce(upto, 0)
)
"""


@frozen
class ThreadCount:
    """Unread notifications in a thread of a room; an empty id is the main timeline."""

    room_nid: int
    thread_id: str
    notifications: int
    highlights: int


@frozen
class Notification:
    """An event that notifies a user, and how."""

    position: int
    event_nid: int
    actions: str
    read: bool


async def unread(
    conn: Connection, user_nid: int, room_nids: Collection[int], ignored: Collection[int]
) -> list[ThreadCount]:
    """What is unread in rooms that the user is in; nothing of users who are ignored."""
    rows = await conn.fetch(
        f"WITH {_READ} SELECT room_nid, thread_id, count(*), count(*) FILTER (WHERE highlight)"  # noqa: S608
        " FROM unread GROUP BY room_nid, thread_id",
        user_nid,
        list(room_nids),
        list(ignored),
    )
    return [ThreadCount(*row) for row in rows]


async def insert(conn: Connection, position: int, event: tuple[int, int, int], notice: NoticeRow) -> None:
    """What an event (room_nid, event_nid, sender_nid) of no timeline says: an invitation to a room of others."""
    await conn.execute(
        """
        INSERT INTO notifications (position, room_nid, event_nid, sender_nid, ord, everybody, highlight, user_nids,
                                   thread_id, actions)
        VALUES ($1, $2, $3, $4, 0, $5, $6, $7, $8, $9)
        """,
        position,
        *event,
        notice.everybody,
        notice.highlight,
        list(notice.user_nids),
        notice.thread_id,
        notice.actions,
    )


async def thread_of(conn: Connection, event_id: str, hops: int) -> str:
    """The thread that an event is in, by its relations, so many of them at most; empty: the main timeline."""
    root: str | None = await conn.fetchval(
        """
        WITH RECURSIVE up AS (
            SELECT r.parent_id, r.rel_type, 1 AS hop
              FROM events e JOIN relations r ON r.child_nid = e.event_nid WHERE e.event_id = $1
            UNION ALL
            SELECT r.parent_id, r.rel_type, up.hop + 1
              FROM up JOIN events e ON e.event_id = up.parent_id JOIN relations r ON r.child_nid = e.event_nid
             WHERE up.rel_type <> 'm.thread' AND up.hop < $2
        )
        SELECT parent_id FROM up WHERE rel_type = 'm.thread' LIMIT 1
        """,
        event_id,
        hops,
    )
    return root or ""
