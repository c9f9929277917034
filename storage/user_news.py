"""What is new for one user or device since a position of the clock: rooms, account data, inbox, others' devices."""

from collections.abc import Iterable, Sequence

from attrs import frozen

from storage.database import Connection


@frozen
class UserRoom:
    """What a room is to a user, and where the room stands if we are or were in it."""

    room_nid: int
    membership: int
    event_nid: int
    position: int
    forgotten: bool
    stripped_state: str | None
    room_id: str
    head_position: int | None
    head_sp: int
    joined: int
    invited: int


@frozen
class AccountData:
    """A row of `account_data`; room 0 is none. No content: it was deleted."""

    room_nid: int
    type: str
    content: str | None


@frozen
class Message:
    """A to-device message; `content` is JSON."""

    position: int
    sender: str
    type: str
    content: str


@frozen
class DeviceListChange:
    """Somebody's devices or keys changed; `seen_by` tells whom that concerns: one user, or (0) all in `rooms`."""

    position: int
    user_nid: int
    seen_by: int
    user_id: str
    rooms: frozenset[int]


async def rooms(conn: Connection, user_nid: int, after: int, *, left: bool) -> list[UserRoom]:
    """The rooms a user is in, those whose membership changed after `after`, and with `left` all that were left."""
    rows = await conn.fetch(
        """
        SELECT m.room_nid, m.membership, m.event_nid, m.position, m.forgotten, m.stripped_state, r.room_id,
               h.position, coalesce(h.sp, 0), coalesce(h.joined, 0), coalesce(h.invited, 0)
          FROM local_memberships m
          JOIN rooms r USING (room_nid)
          LEFT JOIN room_heads h USING (room_nid)
         WHERE m.user_nid = $1 AND (m.membership = 1 OR m.position > $2)
           AND ($3 OR $2 > 0 OR m.membership NOT IN (4, 5))
        """,
        user_nid,
        after,
        left,
    )
    return [UserRoom(*row) for row in rows]


async def account_data(
    conn: Connection, user_nid: int, after: int, whole_rooms: Iterable[int]
) -> list[AccountData]:
    """Account data that changed after `after`, and all of `whole_rooms`."""
    rows = await conn.fetch(
        """
        SELECT room_nid, type, content FROM account_data
         WHERE user_nid = $1 AND (position > $2 OR room_nid = ANY($3::int[]))
         ORDER BY position
        """,
        user_nid,
        after,
        list(whole_rooms),
    )
    return [AccountData(*row) for row in rows]


async def global_account_data(conn: Connection, user_nid: int, kind: str) -> str | None:
    """The content of one type of a user's global account data."""
    content: str | None = await conn.fetchval(
        "SELECT content FROM account_data WHERE user_nid = $1 AND room_nid = 0 AND type = $2", user_nid, kind
    )
    return content


async def inbox(conn: Connection, device_nid: int, after: int, limit: int) -> list[Message]:
    """A device's to-device messages after a position, at most `limit` and then the rest of the last one's position."""
    rows = await conn.fetch(
        """
        SELECT position, sender, type, content, ord FROM to_device
         WHERE device_nid = $1 AND position > $2
         ORDER BY position FETCH FIRST $3 ROWS WITH TIES
        """,
        device_nid,
        after,
        limit,
    )
    return [Message(*row[:4]) for row in sorted(rows, key=lambda row: (row[0], row[4]))]


async def empty_inbox(conn: Connection, device_nid: int, upto: int) -> None:
    """Delete the to-device messages that a device has acknowledged."""
    await conn.execute("DELETE FROM to_device WHERE device_nid = $1 AND position <= $2", device_nid, upto)


async def device_list_changes(
    conn: Connection, user_nid: int, room_nids: Sequence[int], after: int
) -> list[int]:
    """Whose devices or keys changed after `after`: the user, everybody in one of the rooms, whom the user signed."""
    rows = await conn.fetch(
        """
        SELECT DISTINCT d.user_nid
          FROM device_list_changes d
         WHERE d.position > $2
           AND (d.seen_by = $1
                OR d.seen_by = 0
                   AND (d.user_nid = $1
                        OR EXISTS (SELECT 1 FROM current_state c
                                    WHERE c.key_nid = d.user_nid AND c.membership = 1
                                      AND c.room_nid = ANY($3::int[]))))
        """,
        user_nid,
        after,
        room_nids,
    )
    return [row[0] for row in rows]


async def latest_device_lists(conn: Connection, after: int, limit: int) -> tuple[int, list[DeviceListChange]]:
    """Up to where the clock is, and the latest changes of devices after `after`, the latest first."""
    rows = await conn.fetch(
        """
        SELECT c.position, d.position, d.user_nid, d.seen_by, k.state_key,
               ARRAY(SELECT s.room_nid FROM current_state s WHERE s.key_nid = d.user_nid AND s.membership = 1)
          FROM clock c
          LEFT JOIN (SELECT position, user_nid, seen_by FROM device_list_changes
                      WHERE position > $1 ORDER BY position DESC LIMIT $2) d ON true
          LEFT JOIN state_keys k ON k.key_nid = d.user_nid
         ORDER BY d.position DESC
        """,
        after,
        limit,
    )
    found = [DeviceListChange(row[1], row[2], row[3], row[4], frozenset(row[5])) for row in rows]
    return rows[0][0], [] if rows[0][1] is None else found


async def still_shared(conn: Connection, room_nids: Sequence[int], user_nids: Iterable[int]) -> set[int]:
    """Those of the users who are in one of the rooms."""
    return {nid for nid, joined in (await sharing(conn, room_nids, user_nids)).items() if joined}


async def sharing(conn: Connection, room_nids: Sequence[int], user_nids: Iterable[int]) -> dict[int, bool]:
    """Those of the users who are in one of the rooms (true), or only invited to one."""
    rows = await conn.fetch(
        """
        SELECT key_nid, bool_or(membership = 1) FROM current_state
         WHERE key_nid = ANY($2::int[]) AND membership IN (1, 2) AND room_nid = ANY($1::int[])
         GROUP BY key_nid
        """,
        room_nids,
        list(user_nids),
    )
    return {row[0]: row[1] for row in rows}


async def member_changes(
    conn: Connection, stretches: Sequence[tuple[int, int, int]]
) -> list[tuple[int, int, list[int | None]]]:
    """Members that changed in (room_nid, low, high] of main lines: (room_nid, user_nid, events from that before)."""
    rows = await conn.fetch(
        """
        SELECT l.room_nid, l.key_nid, min(b.event_nid), array_agg(l.event_nid ORDER BY l.sp)
          FROM unnest($1::int[], $2::int[], $3::int[]) AS n(room_nid, low, high)
          JOIN state_log l ON l.room_nid = n.room_nid AND l.sp > n.low AND l.sp <= n.high
          JOIN state_keys k ON k.key_nid = l.key_nid AND k.type = 'm.room.member'
          LEFT JOIN LATERAL (
               SELECT event_nid FROM state_log
                WHERE room_nid = l.room_nid AND key_nid = l.key_nid AND sp <= n.low
                ORDER BY sp DESC LIMIT 1) AS b ON true
         GROUP BY l.room_nid, l.key_nid
        """,
        [room_nid for room_nid, _, _ in stretches],
        [low for _, low, _ in stretches],
        [high for _, _, high in stretches],
    )
    return [(row[0], row[1], [row[2], *row[3]]) for row in rows]


async def joined_members(conn: Connection, room_nids: Iterable[int]) -> set[int]:
    """Everybody who is in one of the rooms."""
    rows = await conn.fetch(
        "SELECT DISTINCT key_nid FROM current_state WHERE room_nid = ANY($1::int[]) AND membership = 1",
        list(room_nids),
    )
    return {row[0] for row in rows}


async def heroes(conn: Connection, user_nid: int, room_nids: Iterable[int]) -> dict[int, list[int]]:
    """Up to five others of each room, who came first: joined or invited, else those who were [cs "/sync" summary]."""
    rows = await conn.fetch(
        """
        SELECT n.room_nid, h.key_nid, h.former
          FROM unnest($2::int[]) AS n(room_nid)
         CROSS JOIN LATERAL (
               SELECT key_nid, event_nid, membership > 2 AS former FROM (
                   (SELECT key_nid, event_nid, membership FROM current_state
                     WHERE room_nid = n.room_nid AND membership = 1 AND key_nid <> $1 ORDER BY event_nid LIMIT 5)
                   UNION ALL
                   (SELECT key_nid, event_nid, membership FROM current_state
                     WHERE room_nid = n.room_nid AND membership = 2 AND key_nid <> $1 ORDER BY event_nid LIMIT 5)
                   UNION ALL
                   (SELECT key_nid, event_nid, membership FROM current_state
                     WHERE room_nid = n.room_nid AND membership = 4 AND key_nid <> $1 ORDER BY event_nid LIMIT 5)
                   UNION ALL
                   (SELECT key_nid, event_nid, membership FROM current_state
                     WHERE room_nid = n.room_nid AND membership = 5 AND key_nid <> $1 ORDER BY event_nid LIMIT 5)
               ) AS c ORDER BY former, event_nid LIMIT 5) AS h
         ORDER BY n.room_nid, h.former, h.event_nid
        """,
        user_nid,
        list(room_nids),
    )
    found: dict[int, list[int]] = {}
    present = {row[0] for row in rows if not row[2]}
    for row in rows:
        if not row[2] or row[0] not in present:
            found.setdefault(row[0], []).append(row[1])
    return found
