"""Presence of users, ours and others'."""

from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from storage.database import Connection


@frozen
class Presence:
    """A row of `presence`."""

    user_nid: int
    state: str
    status_msg: str | None
    last_active_ts: int
    currently_active: bool = False


async def put(conn: Connection, position: int, presences: Sequence[Presence], holds_until: int) -> None:
    """What users are from now on; who is not heard of until then is offline."""
    await conn.execute(
        """
        INSERT INTO presence (position, expires_ts, user_nid, state, status_msg, last_active_ts, currently_active)
        SELECT $1, $2, * FROM unnest($3::int[], $4::text[], $5::text[], $6::bigint[], $7::boolean[])
        ON CONFLICT (user_nid)
        DO UPDATE SET position = excluded.position, expires_ts = excluded.expires_ts, state = excluded.state,
                      status_msg = excluded.status_msg, last_active_ts = excluded.last_active_ts,
                      currently_active = excluded.currently_active
        """,
        position,
        holds_until,
        [presence.user_nid for presence in presences],
        [presence.state for presence in presences],
        [presence.status_msg for presence in presences],
        [presence.last_active_ts for presence in presences],
        [presence.currently_active for presence in presences],
    )


async def prolong(conn: Connection, user_nids: Iterable[int], holds_until: int) -> None:
    """What is known of users still holds."""
    await conn.execute(
        "UPDATE presence SET expires_ts = $2 WHERE user_nid = ANY($1::int[])", list(user_nids), holds_until
    )


async def prolong_active(conn: Connection, active: Mapping[int, int], holds_until: int) -> None:
    """The same, with the times when users were last active; nobody is told."""
    await conn.execute(
        """
        UPDATE presence p SET expires_ts = $3, last_active_ts = greatest(p.last_active_ts, n.active_ts)
          FROM unnest($1::int[], $2::bigint[]) AS n(user_nid, active_ts)
         WHERE p.user_nid = n.user_nid
        """,
        list(active),
        list(active.values()),
        holds_until,
    )


async def outdated(conn: Connection, now: int, limit: int = 1_000) -> list[int]:
    """Users of whom nothing was heard for too long."""
    rows = await conn.fetch(
        "SELECT user_nid FROM presence WHERE expires_ts < $1 AND state <> 'offline' LIMIT $2", now, limit
    )
    return [row[0] for row in rows]


async def end(conn: Connection, position: int, user_nids: Sequence[int], now: int) -> None:
    """They are offline, unless something was heard of them meanwhile."""
    await conn.execute(
        """
        UPDATE presence SET position = $1, state = 'offline', currently_active = false
         WHERE user_nid = ANY($2::int[]) AND expires_ts < $3
        """,
        position,
        user_nids,
        now,
    )


async def of_users(conn: Connection, user_nids: Iterable[int]) -> dict[int, Presence]:
    """What is known of users."""
    rows = await conn.fetch(
        "SELECT user_nid, state, status_msg, last_active_ts, currently_active"
        " FROM presence WHERE user_nid = ANY($1::int[])",
        list(user_nids),
    )
    return {row[0]: Presence(*row) for row in rows}


async def since(conn: Connection, user_nid: int, room_nids: Sequence[int], position: int) -> list[Presence]:
    """Presence that changed after `position`, of the user and of everybody who is in one of the rooms."""
    rows = await conn.fetch(
        """
        SELECT p.user_nid, p.state, p.status_msg, p.last_active_ts, p.currently_active
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


async def of_those_in(conn: Connection, user_nids: Sequence[int], room_nids: Sequence[int]) -> list[Presence]:
    """Presence of those of some users who are in one of the rooms; who was never seen is offline."""
    rows = await conn.fetch(
        """
        SELECT c.key_nid, coalesce(p.state, 'offline'), p.status_msg, coalesce(p.last_active_ts, 0),
               coalesce(p.currently_active, false)
          FROM (SELECT DISTINCT key_nid FROM current_state
                 WHERE key_nid = ANY($1::int[]) AND membership = 1 AND room_nid = ANY($2::int[])) c
          LEFT JOIN presence p ON p.user_nid = c.key_nid
        """,
        user_nids,
        room_nids,
    )
    return [Presence(*row) for row in rows]


async def unknown_members(conn: Connection, room_nids: Sequence[int], most: int) -> list[int]:
    """Some of the members of rooms of whom nothing is known."""
    rows = await conn.fetch(
        """
        SELECT DISTINCT c.key_nid FROM current_state c
         WHERE c.membership = 1 AND c.room_nid = ANY($1::int[])
           AND NOT EXISTS (SELECT 1 FROM presence p WHERE p.user_nid = c.key_nid)
         LIMIT $2
        """,
        room_nids,
        most,
    )
    return [row[0] for row in rows]
