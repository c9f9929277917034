"""Who types where: one row a room."""

from collections.abc import Iterable

from attrs import frozen

from storage.database import Connection


@frozen
class Typing:
    """Who types in a room, each until a time."""

    room_nid: int
    until: dict[int, int]  # user_nid -> milliseconds


@frozen(kw_only=True)
class Change:
    """One user types until a time, or no longer. Whose time is over `now` is dropped on the way."""

    room_nid: int
    user_nid: int
    until: int | None
    now: int


async def change(conn: Connection, position: int, change: Change) -> None:
    """Take a change into the room's row."""
    await conn.execute(
        """
        INSERT INTO typing AS old (room_nid, position, user_nids, expires_ts)
        VALUES ($1, $2, CASE WHEN $4::bigint IS NULL THEN '{}' ELSE ARRAY[$3::int] END,
                CASE WHEN $4::bigint IS NULL THEN '{}' ELSE ARRAY[$4::bigint] END)
        ON CONFLICT (room_nid) DO UPDATE SET
            position = excluded.position,
            user_nids = ARRAY(SELECT u FROM unnest(old.user_nids, old.expires_ts) AS t(u, e)
                               WHERE u <> $3 AND e > $5) || excluded.user_nids,
            expires_ts = ARRAY(SELECT e FROM unnest(old.user_nids, old.expires_ts) AS t(u, e)
                                WHERE u <> $3 AND e > $5) || excluded.expires_ts
        """,
        change.room_nid,
        position,
        change.user_nid,
        change.until,
        change.now,
    )


async def prolong(conn: Connection, room_nid: int, user_nid: int, until: int) -> None:
    """A user goes on typing, which is no news."""
    await conn.execute(
        """
        UPDATE typing SET expires_ts[array_position(user_nids, $2)] = $3
         WHERE room_nid = $1 AND $2 = ANY(user_nids)
        """,
        room_nid,
        user_nid,
        until,
    )


async def of_room(conn: Connection, room_nid: int) -> Typing:
    """Who types in one room."""
    row = await conn.fetchrow("SELECT user_nids, expires_ts FROM typing WHERE room_nid = $1", room_nid)
    return Typing(room_nid, {} if row is None else dict(zip(row[0], row[1], strict=True)))


async def since(conn: Connection, rooms: Iterable[tuple[int, int]]) -> list[Typing]:
    """For (room_nid, after): who types now, where that changed after the position."""
    wanted = list(rooms)
    rows = await conn.fetch(
        """
        SELECT t.room_nid, t.user_nids, t.expires_ts
          FROM unnest($1::int[], $2::bigint[]) AS n(room_nid, low)
          JOIN typing t ON t.room_nid = n.room_nid AND t.position > n.low
        """,
        [room_nid for room_nid, _ in wanted],
        [after for _, after in wanted],
    )
    return [Typing(row[0], dict(zip(row[1], row[2], strict=True))) for row in rows]
