"""Rows of `peeks`: the rooms that devices look into without their users being in them [MSC2753]."""

from collections.abc import Collection

from attrs import frozen

from storage.database import Connection


@frozen
class PeekRow:
    """A room that a device looks into, how its user stands to it, and where the room stands.

    `visibility_nid` is the event that says who may read the room now.
    """

    room_nid: int
    begun: int
    ended: int | None
    until_ts: int
    room_id: str
    head_position: int
    head_sp: int
    joined: int
    invited: int
    membership: int | None
    moved: int  # where the user's membership changed last
    visibility_nid: int | None


@frozen
class Peek:
    """Who wants to look where, and for how long."""

    user_nid: int
    device_nid: int
    room_nid: int
    until_ts: int


async def begin(conn: Connection, position: int, peek: Peek, most: int) -> None:
    """Begin a peek or renew it. Those beyond `most` of the device end, the oldest first.

    Who has come and gone since it began begins again.
    """
    await conn.execute(
        """
        INSERT INTO peeks (device_nid, room_nid, begun, until_ts) VALUES ($1, $2, $3, $4)
            ON CONFLICT (device_nid, room_nid) DO UPDATE
           SET until_ts = excluded.until_ts, ended = NULL,
               begun = CASE WHEN peeks.ended IS NULL
                             AND NOT EXISTS (SELECT 1 FROM local_memberships m
                                              WHERE m.user_nid = $5 AND m.room_nid = $2
                                                AND m.position > peeks.begun AND m.membership IN (1, 4, 5))
                            THEN peeks.begun ELSE excluded.begun END
        """,
        peek.device_nid,
        peek.room_nid,
        position,
        peek.until_ts,
        peek.user_nid,
    )
    await _bound(conn, position, peek.device_nid, most)


async def _bound(conn: Connection, position: int, device_nid: int, most: int) -> None:
    await conn.execute(
        """
        DELETE FROM peeks WHERE device_nid = $1 AND room_nid = ANY (ARRAY(
            SELECT room_nid FROM peeks WHERE device_nid = $1 AND ended IS NOT NULL
             ORDER BY ended DESC, room_nid OFFSET $2))
        """,
        device_nid,
        most,
    )
    await conn.execute(
        """
        UPDATE peeks SET ended = $2 WHERE device_nid = $1 AND room_nid = ANY (ARRAY(
            SELECT room_nid FROM peeks WHERE device_nid = $1 AND ended IS NULL
             ORDER BY begun DESC, room_nid OFFSET $3))
        """,
        device_nid,
        position,
        most,
    )


async def end(conn: Connection, position: int, device_nid: int, room_nids: Collection[int]) -> int:
    """End a device's peeks into rooms; says how many there were."""
    rows = await conn.fetch(
        """
        UPDATE peeks SET ended = $1
         WHERE device_nid = $2 AND room_nid = ANY($3::int[]) AND ended IS NULL
        RETURNING room_nid
        """,
        position,
        device_nid,
        list(room_nids),
    )
    return len(rows)


async def forget(conn: Connection, device_nid: int, room_nids: Collection[int], upto: int) -> None:
    """The device knows that these peeks, begun up to a position, are over."""
    await conn.execute(
        "DELETE FROM peeks WHERE device_nid = $1 AND room_nid = ANY($2::int[]) AND begun <= $3",
        device_nid,
        list(room_nids),
        upto,
    )


async def rooms_of_user(conn: Connection, user_nid: int) -> dict[int, list[int]]:
    """device_nid -> the rooms that it looks into, or has ceased to without knowing it."""
    rows = await conn.fetch(
        """
        SELECT p.device_nid, array_agg(p.room_nid) FROM peeks p JOIN devices d USING (device_nid)
         WHERE d.user_nid = $1 GROUP BY p.device_nid
        """,
        user_nid,
    )
    return {row[0]: row[1] for row in rows}


async def of_device(
    conn: Connection, user_nid: int, device_nid: int, visibility_key_nid: int
) -> list[PeekRow]:
    """A device's peeks, the oldest first."""
    rows = await conn.fetch(
        """
        SELECT p.room_nid, p.begun, p.ended, p.until_ts, r.room_id, h.position, h.sp, h.joined, h.invited,
               m.membership, coalesce(m.position, 0), c.event_nid
          FROM peeks p
          JOIN rooms r USING (room_nid)
          JOIN room_heads h USING (room_nid)
          LEFT JOIN local_memberships m ON m.room_nid = p.room_nid AND m.user_nid = $1
          LEFT JOIN current_state c ON c.room_nid = p.room_nid AND c.key_nid = $3
         WHERE p.device_nid = $2
         ORDER BY p.begun, p.room_nid
        """,
        user_nid,
        device_nid,
        visibility_key_nid,
    )
    return [PeekRow(*row) for row in rows]
