"""Which events notify whom: counted from where users have read, listed, and cleared by nothing but reading.

Rows are written with their events (`storage.batch_statements`). Nothing is ever counted up or down: a count is the
number of rows behind the user's receipts, behind what the user has sent, and behind the join. Rows that only mark
their event as unread are counted so, and are nothing else.
"""

from collections.abc import Collection

from attrs import frozen

from homeserver.core.push.evaluate import MARKS
from storage.database import Connection
from storage.room_batches import NoticeRow

# Where each room ($2) has been read by a user ($1): up to which position, by thread; '' is an unthreaded receipt.
_READ = f"""
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
           n.everybody <> ($1 = ANY(n.user_nids)) AND n.sender_nid <> $1
           AND n.sender_nid <> ALL($3::int[]) AS counts,
           n.actions <> '{MARKS}' AS notifies,
           greatest(t.upto, max(n.position) FILTER (WHERE n.sender_nid = $1)
                            OVER (PARTITION BY n.room_nid, n.thread_id)) AS upto
      FROM rooms w
      JOIN notifications n ON n.room_nid = w.room_nid AND n.position > w.after
      LEFT JOIN reads t ON t.room_nid = n.room_nid
                       AND t.thread_id = CASE n.thread_id WHEN '' THEN 'main' ELSE n.thread_id END
), unread AS (
    SELECT * FROM concerning WHERE counts AND position > coalesce(upto, 0)
)
"""  # noqa: S608 (a constant)
_NOTIFIES = f"AND n.actions <> '{MARKS}'"


@frozen
class ThreadCount:
    """What is unread in a thread of a room, notifications and all; an empty id is the main timeline."""

    room_nid: int
    thread_id: str
    notifications: int
    highlights: int
    unread: int


@frozen
class Notification:
    """An event that notifies a user, and how."""

    position: int
    event_nid: int
    actions: str
    read: bool


# What notifies a user ($1) before a position ($2), the newest ones ($3): in rooms since the join, and invitations.
_LISTED = """
WITH found AS (
    SELECT n.room_nid, n.position, n.event_nid, n.thread_id, n.actions
      FROM local_memberships m
     CROSS JOIN LATERAL (
           SELECT * FROM notifications n
            WHERE n.room_nid = m.room_nid AND n.position > m.since AND n.position < $2 {only} {notifies}
              AND n.everybody <> ($1 = ANY(n.user_nids)) AND n.sender_nid <> $1
              AND n.sender_nid <> ALL($4::int[])
            ORDER BY n.position DESC LIMIT $3) AS n
     WHERE m.user_nid = $1 AND m.membership = 1
    UNION ALL
    SELECT n.room_nid, n.position, n.event_nid, n.thread_id, n.actions
      FROM local_memberships m JOIN notifications n ON n.room_nid = m.room_nid AND n.position = m.position {only}
     WHERE m.user_nid = $1 AND m.membership = 2 AND m.position < $2
       AND NOT n.everybody AND $1 = ANY(n.user_nids) AND n.sender_nid <> ALL($4::int[])
     ORDER BY position DESC LIMIT $3
), reads AS (
    SELECT r.room_nid, r.thread_id, max(e.position) AS upto
      FROM receipts r JOIN events e ON e.event_nid = r.event_nid
     WHERE r.user_nid = $1 AND r.room_nid IN (SELECT room_nid FROM found)
       AND r.kind IN ('m.read', 'm.read.private')
     GROUP BY r.room_nid, r.thread_id
)
SELECT f.position, f.event_nid, f.actions,
       EXISTS (SELECT 1 FROM reads r
                WHERE r.room_nid = f.room_nid AND r.upto >= f.position
                  AND r.thread_id IN ('', CASE f.thread_id WHEN '' THEN 'main' ELSE f.thread_id END))
       OR EXISTS (SELECT 1 FROM notifications o
                   WHERE o.room_nid = f.room_nid AND o.position > f.position AND o.sender_nid = $1
                     AND o.thread_id = f.thread_id)
  FROM found f ORDER BY f.position DESC
"""


async def listed(
    conn: Connection,
    user_nid: int,
    *,
    before: int,
    limit: int,
    highlights: bool,
    ignored: Collection[int],
) -> list[Notification]:
    """The newest notifications of a user before a position, latest first."""
    query = _LISTED.format(only="AND n.highlight" if highlights else "", notifies=_NOTIFIES)
    rows = await conn.fetch(query, user_nid, before, limit, list(ignored))
    return [Notification(*row) for row in rows]


@frozen
class Due:
    """A user to be told of what came after a position up to another, in some rooms (None: in all)."""

    user_nid: int
    after: int
    upto: int
    room_nids: Collection[int] | None
    ignored: Collection[int]


async def due(conn: Connection, due: Due, limit: int) -> list[Notification]:
    """What a user is to be told of and has not read, oldest first."""
    rooms = due.room_nids
    if rooms is None:
        rooms = await _moved(conn, due.user_nid, due.after)
    rows = await conn.fetch(
        f"""
        WITH {_READ}
        SELECT n.position, n.event_nid, n.actions, false
          FROM unread u JOIN notifications n USING (room_nid, position, ord)
         WHERE u.notifies AND u.position > $4 AND u.position <= $5
        UNION ALL
        SELECT n.position, n.event_nid, n.actions, false
          FROM local_memberships m JOIN notifications n ON n.room_nid = m.room_nid AND n.position = m.position
         WHERE m.user_nid = $1 AND m.membership = 2 AND m.position > $4 AND m.position <= $5
           AND NOT n.everybody AND $1 = ANY(n.user_nids) AND n.sender_nid <> ALL($3::int[])
         ORDER BY position LIMIT $6
        """,  # noqa: S608 (constants)
        due.user_nid,
        list(rooms),
        list(due.ignored),
        due.after,
        due.upto,
        limit,
    )
    return [Notification(*row) for row in rows]


async def _moved(conn: Connection, user_nid: int, after: int) -> list[int]:
    """The rooms of a user in which something has happened since."""
    rows = await conn.fetch(
        """
        SELECT m.room_nid FROM local_memberships m JOIN room_heads h USING (room_nid)
         WHERE m.user_nid = $1 AND m.membership = 1 AND h.position > $2
        """,
        user_nid,
        after,
    )
    return [row[0] for row in rows]


async def unread(
    conn: Connection, user_nid: int, room_nids: Collection[int], ignored: Collection[int]
) -> list[ThreadCount]:
    """What is unread in rooms that the user is in; nothing of users who are ignored."""
    rows = await conn.fetch(
        f"WITH {_READ} SELECT room_nid, thread_id, count(*) FILTER (WHERE notifies),"  # noqa: S608
        " count(*) FILTER (WHERE highlight), count(*) FROM unread GROUP BY room_nid, thread_id",
        user_nid,
        list(room_nids),
        list(ignored),
    )
    return [ThreadCount(*row) for row in rows]


async def insert(conn: Connection, position: int, event_id: str, notice: NoticeRow) -> None:
    """What an event of no timeline says: an invitation to a room of others."""
    await conn.execute(
        """
        INSERT INTO notifications (position, room_nid, event_nid, sender_nid, ord, everybody, highlight, user_nids,
                                   thread_id, actions)
        SELECT $1, room_nid, event_nid, sender_nid, 0, $3, $4, $5, $6, $7 FROM events WHERE event_id = $2
        """,
        position,
        event_id,
        notice.everybody,
        notice.highlight,
        list(notice.user_nids),
        notice.thread_id,
        notice.actions,
    )


async def rooms_with_older(conn: Connection, after: int, upto: int, limit: int) -> list[int]:
    """The next rooms, by number, that have notifications up to a position."""
    rows = await conn.fetch(
        """
        SELECT r.room_nid FROM rooms r
         WHERE r.room_nid > $1
           AND EXISTS (SELECT 1 FROM notifications n WHERE n.room_nid = r.room_nid AND n.position <= $2)
         ORDER BY r.room_nid LIMIT $3
        """,
        after,
        upto,
        limit,
    )
    return [row[0] for row in rows]


async def forget(conn: Connection, room_nids: Collection[int], *, read: int, unread: int) -> None:
    """Delete what all who are in the room have read, up to one position, and everything up to another.

    What stands before a row goes with it, so counts behind it stay as they are.
    """
    await conn.execute(
        """
        WITH readers AS (
            SELECT m.room_nid, greatest(m.since, max(e.position)) AS upto
              FROM local_memberships m
              LEFT JOIN receipts r ON r.room_nid = m.room_nid AND r.user_nid = m.user_nid
                                  AND r.kind IN ('m.read', 'm.read.private') AND r.thread_id = ''
              LEFT JOIN events e ON e.event_nid = r.event_nid
             WHERE m.room_nid = ANY($1::int[]) AND m.membership = 1
             GROUP BY m.room_nid, m.user_nid, m.since),
        ends AS (
            SELECT n.room_nid, greatest($3::bigint, least($2::bigint, min(r.upto))) AS upto
              FROM unnest($1::int[]) AS n(room_nid) LEFT JOIN readers r USING (room_nid)
             GROUP BY n.room_nid)
        DELETE FROM notifications n USING ends x WHERE n.room_nid = x.room_nid AND n.position <= x.upto
        """,
        list(room_nids),
        read,
        unread,
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
