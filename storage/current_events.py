"""The events of a room's current state, read with one join: for answers to clients, never for judging."""

from collections.abc import Iterable

from homeserver.core.event import StateKey
from storage.database import Connection
from storage.events import COLUMNS, EventReader, StoredEvent

_EVENT = ", ".join(f"e.{column.strip()}" for column in COLUMNS.split(","))


async def of_keys(
    conn: Connection, reader: EventReader, room_nid: int, keys: Iterable[StateKey]
) -> dict[StateKey, StoredEvent]:
    """The events of those of the keys that are set."""
    wanted = list(keys)
    rows = await conn.fetch(
        f"""
        SELECT {_EVENT}
          FROM unnest($2::text[], $3::text[]) AS n(type, state_key)
          JOIN state_keys k USING (type, state_key)
          JOIN current_state c ON c.room_nid = $1 AND c.key_nid = k.key_nid
          JOIN events e ON e.event_nid = c.event_nid
        """,  # noqa: S608 (our own column names)
        room_nid,
        [key[0] for key in wanted],
        [key[1] for key in wanted],
    )
    return {stored.event.key: stored for stored in await reader.read(conn, rows)}


async def of_rooms(
    conn: Connection, reader: EventReader, room_nids: Iterable[int], types: Iterable[str]
) -> dict[int, dict[str, StoredEvent]]:
    """room_nid -> type -> event, for the state of several rooms under these types and the empty state key."""
    rows = await conn.fetch(
        f"""
        SELECT {_EVENT}
          FROM state_keys k
          JOIN current_state c ON c.key_nid = k.key_nid AND c.room_nid = ANY($1::int[])
          JOIN events e ON e.event_nid = c.event_nid
         WHERE k.state_key = '' AND k.type = ANY($2::text[])
        """,  # noqa: S608 (our own column names)
        list(room_nids),
        list(types),
    )
    found: dict[int, dict[str, StoredEvent]] = {}
    for stored in await reader.read(conn, rows):
        found.setdefault(stored.room.nid, {})[stored.event.type] = stored
    return found


async def whole(conn: Connection, reader: EventReader, room_nid: int) -> list[StoredEvent]:
    """The whole state, oldest event first."""
    rows = await conn.fetch(
        f"""
        SELECT {_EVENT}
          FROM current_state c JOIN events e ON e.event_nid = c.event_nid
         WHERE c.room_nid = $1
         ORDER BY e.event_nid
        """,  # noqa: S608 (our own column names)
        room_nid,
    )
    return await reader.read(conn, rows)


async def members(
    conn: Connection, reader: EventReader, room_nid: int, memberships: Iterable[int]
) -> list[StoredEvent]:
    """The member events with one of these memberships, oldest first."""
    rows = await conn.fetch(
        f"""
        SELECT {_EVENT}
          FROM current_state c JOIN events e ON e.event_nid = c.event_nid
         WHERE c.room_nid = $1 AND c.membership = ANY($2::smallint[])
         ORDER BY e.event_nid
        """,  # noqa: S608 (our own column names)
        room_nid,
        list(memberships),
    )
    return await reader.read(conn, rows)


async def latest_join(conn: Connection, reader: EventReader, user_nid: int) -> StoredEvent | None:
    """The newest event by which some room has the user as a member."""
    rows = await conn.fetch(
        f"""
        SELECT {_EVENT}
          FROM current_state c JOIN events e ON e.event_nid = c.event_nid
         WHERE c.key_nid = $1 AND c.membership = 1
         ORDER BY e.origin_server_ts DESC LIMIT 1
        """,  # noqa: S608 (our own column names)
        user_nid,
    )
    return next(iter(await reader.read(conn, rows)), None)
