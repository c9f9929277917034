"""Receipts: how far users have read, the last one of each kind and thread."""

from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from storage.database import Connection

PRIVATE = "m.read.private"


@frozen
class Receipt:
    """A row of `receipts`. `thread_id` is empty for an unthreaded one."""

    room_nid: int
    user_nid: int
    kind: str
    thread_id: str
    event_id: str
    event_nid: int | None
    ts: int


async def put(conn: Connection, position: int, receipts: Sequence[Receipt]) -> None:
    """Store receipts, each in the place of the one before it."""
    await conn.execute(
        """
        INSERT INTO receipts AS old (position, room_nid, user_nid, kind, thread_id, event_id, event_nid, ts)
        SELECT $1, * FROM unnest($2::int[], $3::int[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[])
        ON CONFLICT (room_nid, user_nid, kind, thread_id)
        DO UPDATE SET position = excluded.position, event_id = excluded.event_id, event_nid = excluded.event_nid,
                      ts = excluded.ts
        """,
        position,
        [receipt.room_nid for receipt in receipts],
        [receipt.user_nid for receipt in receipts],
        [receipt.kind for receipt in receipts],
        [receipt.thread_id for receipt in receipts],
        [receipt.event_id for receipt in receipts],
        [receipt.event_nid for receipt in receipts],
        [receipt.ts for receipt in receipts],
    )


async def one(conn: Connection, room_nid: int, user_nid: int, kind: str, thread_id: str) -> Receipt | None:
    """The last receipt of one kind and thread."""
    row = await conn.fetchrow(
        """
        SELECT room_nid, user_nid, kind, thread_id, event_id, event_nid, ts FROM receipts
         WHERE room_nid = $1 AND user_nid = $2 AND kind = $3 AND thread_id = $4
        """,
        room_nid,
        user_nid,
        kind,
        thread_id,
    )
    return None if row is None else Receipt(*row)


async def of_users(
    conn: Connection, room_nid: int, user_nids: Iterable[int], kind: str
) -> dict[tuple[int, str], Receipt]:
    """The last receipts of one kind of some users in a room, by user and thread."""
    rows = await conn.fetch(
        """
        SELECT room_nid, user_nid, kind, thread_id, event_id, event_nid, ts FROM receipts
         WHERE room_nid = $1 AND user_nid = ANY($2::int[]) AND kind = $3
        """,
        room_nid,
        list(user_nids),
        kind,
    )
    return {(row[1], row[3]): Receipt(*row) for row in rows}


async def read_since(conn: Connection, user_nid: int, rooms: Iterable[tuple[int, int]]) -> list[int]:
    """For (room_nid, after): the rooms in which the user's own receipts have moved after it."""
    wanted = list(rooms)
    rows = await conn.fetch(
        """
        SELECT DISTINCT r.room_nid
          FROM unnest($1::int[], $2::bigint[]) AS n(room_nid, low)
          JOIN receipts r ON r.room_nid = n.room_nid AND r.user_nid = $3 AND r.position > n.low
        """,
        [room_nid for room_nid, _ in wanted],
        [after for _, after in wanted],
        user_nid,
    )
    return [row[0] for row in rows]


async def since(
    conn: Connection, reader_nid: int, rooms: Iterable[tuple[int, int]]
) -> dict[int, list[Receipt]]:
    """For (room_nid, after): the receipts with a position after it that `reader_nid` may see, by room."""
    wanted = list(rooms)
    rows = await conn.fetch(
        """
        SELECT r.room_nid, r.user_nid, r.kind, r.thread_id, r.event_id, r.event_nid, r.ts
          FROM unnest($1::int[], $2::bigint[]) AS n(room_nid, low)
          JOIN receipts r ON r.room_nid = n.room_nid AND r.position > n.low
         WHERE r.kind <> 'm.read.private' OR r.user_nid = $3
        """,
        [room_nid for room_nid, _ in wanted],
        [after for _, after in wanted],
        reader_nid,
    )
    found: dict[int, list[Receipt]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(Receipt(*row))
    return found


async def of_all_since(conn: Connection, rooms: Iterable[tuple[int, int]]) -> list[Receipt]:
    """For (room_nid, after): the receipts with a position after it, private ones too."""
    wanted = list(rooms)
    rows = await conn.fetch(
        """
        SELECT r.room_nid, r.user_nid, r.kind, r.thread_id, r.event_id, r.event_nid, r.ts
          FROM unnest($1::int[], $2::bigint[]) AS n(room_nid, low)
          JOIN receipts r ON r.room_nid = n.room_nid AND r.position > n.low
        """,
        [room_nid for room_nid, _ in wanted],
        [after for _, after in wanted],
    )
    return [Receipt(*row) for row in rows]


async def at_events(
    conn: Connection, reader_nid: int, events: Mapping[int, Sequence[str]]
) -> dict[int, list[Receipt]]:
    """For room_nid -> event ids: the receipts at these events that `reader_nid` may see, and all of their own."""
    rows = await conn.fetch(
        """
        SELECT r.room_nid, r.user_nid, r.kind, r.thread_id, r.event_id, r.event_nid, r.ts
          FROM unnest($1::int[]) AS n(room_nid)
          JOIN receipts r ON r.room_nid = n.room_nid
         WHERE r.user_nid = $3 OR r.kind <> 'm.read.private' AND r.event_id = ANY($2::text[])
        """,
        list(events),
        [event_id for ids in events.values() for event_id in ids],
        reader_nid,
    )
    found: dict[int, list[Receipt]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(Receipt(*row))
    return found
