"""Bookmarks of followers, and the events that are new to them."""

from collections.abc import Sequence

from attrs import field, frozen

from storage.database import Connection


@frozen
class NewEvent:
    """An accepted event as followers see it. `founds`: it stands on nothing we had, as a join to a room of others."""

    position: int
    event_nid: int
    room_nid: int
    sender_nid: int
    key_nid: int | None
    ts: int
    type: str
    event_id: str
    redacted: bool
    founds: bool
    json: bytes = field(repr=False)


async def bookmark(conn: Connection, name: str) -> int | None:
    """Up to where a follower has come, locked for it; None: another process has the lock."""
    await conn.execute("INSERT INTO followers (name, position) VALUES ($1, 0) ON CONFLICT DO NOTHING", name)
    position: int | None = await conn.fetchval(
        "SELECT position FROM followers WHERE name = $1 FOR UPDATE SKIP LOCKED", name
    )
    return position


async def move_bookmark(conn: Connection, name: str, position: int) -> None:
    """Everything up to here has been taken."""
    await conn.execute("UPDATE followers SET position = $2 WHERE name = $1", name, position)


async def events_of_types(conn: Connection, types: Sequence[str], after: int, upto: int) -> list[NewEvent]:
    """The accepted events of some types in a (short) span of the clock, oldest first."""
    rows = await conn.fetch(
        """
        SELECT e.position, e.event_nid, e.room_nid, e.sender_nid, e.key_nid, e.origin_server_ts, e.type, e.event_id,
               e.redacted_by IS NOT NULL, e.prev_nids = '{}', e.json
          FROM room_heads h
          CROSS JOIN LATERAL (
              SELECT * FROM events n
               WHERE n.room_nid = h.room_nid AND n.position > $2 AND n.position <= $3
                 AND n.status = 0 AND n.type = ANY($1::text[])) e
         WHERE h.position > $2
         ORDER BY e.position
        """,
        list(types),
        after,
        upto,
    )
    return [NewEvent(*row) for row in rows]
