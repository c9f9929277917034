"""Presence of users, ours and others'."""

from collections.abc import Iterable, Sequence

from attrs import frozen

from storage.database import Connection


@frozen
class Presence:
    """A row of `presence`."""

    user_nid: int
    state: str
    status_msg: str | None
    last_active_ts: int


async def put(conn: Connection, position: int, presences: Sequence[Presence]) -> None:
    """What users are from now on."""
    await conn.execute(
        """
        INSERT INTO presence (position, user_nid, state, status_msg, last_active_ts)
        SELECT $1, * FROM unnest($2::int[], $3::text[], $4::text[], $5::bigint[])
        ON CONFLICT (user_nid)
        DO UPDATE SET position = excluded.position, state = excluded.state, status_msg = excluded.status_msg,
                      last_active_ts = excluded.last_active_ts
        """,
        position,
        [presence.user_nid for presence in presences],
        [presence.state for presence in presences],
        [presence.status_msg for presence in presences],
        [presence.last_active_ts for presence in presences],
    )


async def of_users(conn: Connection, user_nids: Iterable[int]) -> dict[int, Presence]:
    """What is known of users."""
    rows = await conn.fetch(
        "SELECT user_nid, state, status_msg, last_active_ts FROM presence WHERE user_nid = ANY($1::int[])",
        list(user_nids),
    )
    return {row[0]: Presence(*row) for row in rows}


async def since(conn: Connection, user_nid: int, room_nids: Sequence[int], position: int) -> list[Presence]:
    """Presence that changed after `position`, of the user and of everybody who is in one of the rooms."""
    rows = await conn.fetch(
        """
        SELECT p.user_nid, p.state, p.status_msg, p.last_active_ts
          FROM presence p
         WHERE p.position > $2
           AND (p.user_nid = $1
                OR EXISTS (SELECT 1 FROM current_state c
                            WHERE c.key_nid = p.user_nid AND c.membership = 1 AND c.room_nid = ANY($3::int[])))
        """,
        user_nid,
        position,
        room_nids,
    )
    return [Presence(*row) for row in rows]


async def of_members(conn: Connection, room_nids: Sequence[int]) -> list[Presence]:
    """Presence of everybody who is in one of the rooms: for whom the reader has just come to see."""
    rows = await conn.fetch(
        """
        SELECT p.user_nid, p.state, p.status_msg, p.last_active_ts
          FROM presence p
         WHERE EXISTS (SELECT 1 FROM current_state c
                        WHERE c.key_nid = p.user_nid AND c.membership = 1 AND c.room_nid = ANY($1::int[]))
        """,
        room_nids,
    )
    return [Presence(*row) for row in rows]
