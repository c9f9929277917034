"""Receipts and presence of our users that are news for other servers."""

from collections.abc import Collection, Iterable

from attrs import frozen

from storage.database import Connection
from storage.outbound_events import Span
from storage.presence import Presence

_SERVER_OF = "substr(k.state_key, strpos(k.state_key, ':') + 1)"
_RECEIPTS = f"""
SELECT r.position, r.room_nid, o.room_id, k.state_key AS user_id, r.kind, r.thread_id, r.event_id, r.ts
  FROM receipts r
  JOIN state_keys k ON k.key_nid = r.user_nid
  JOIN rooms o ON o.room_nid = r.room_nid
 WHERE r.position > $1 AND r.position <= $2 AND r.kind = 'm.read' AND {_SERVER_OF} = $3
"""  # noqa: S608 (constants)


@frozen
class OutboundReceipt:
    """A public receipt of one of our users. `thread_id` is empty for an unthreaded one."""

    position: int
    room_nid: int
    room_id: str
    user_id: str
    kind: str
    thread_id: str
    event_id: str
    ts: int


async def receipts(
    conn: Connection, our_name: str, span: Span, room_nids: Collection[int] | None
) -> list[OutboundReceipt]:
    """Public receipts of our users that were set in a span of the clock, oldest first.

    Without `room_nids` all of the table is looked at, which is for the time after a start.
    """
    if room_nids is None:
        rows = await conn.fetch(_RECEIPTS + " ORDER BY r.position", span.after, span.upto, our_name)
    else:
        rows = await conn.fetch(
            _RECEIPTS + " AND r.room_nid = ANY($4::int[]) ORDER BY r.position",
            span.after,
            span.upto,
            our_name,
            list(room_nids),
        )
    return [OutboundReceipt(*row) for row in rows]


async def presences(conn: Connection, our_name: str, span: Span) -> list[tuple[str, Presence]]:
    """(user id, presence) of those of our users whose presence changed in a span of the clock."""
    rows = await conn.fetch(
        f"""
        SELECT k.state_key, p.user_nid, p.state, p.status_msg, p.last_active_ts, p.currently_active
          FROM presence p JOIN state_keys k ON k.key_nid = p.user_nid
         WHERE p.position > $1 AND p.position <= $2 AND {_SERVER_OF} = $3
         ORDER BY p.position
        """,  # noqa: S608 (constants)
        span.after,
        span.upto,
        our_name,
    )
    return [(row[0], Presence(*row[1:])) for row in rows]


async def presences_in(
    conn: Connection,
    our_name: str,
    room_nids: Iterable[int],
    *,
    whole: Collection[int],
    users: Collection[int],
) -> list[tuple[int, str, Presence]]:
    """(room, user id, presence) of those of our users in rooms who are there: of all in `whole`, else of `users`."""
    rows = await conn.fetch(
        f"""
        SELECT c.room_nid, k.state_key, p.user_nid, p.state, p.status_msg, p.last_active_ts, p.currently_active
          FROM current_state c
          JOIN presence p ON p.user_nid = c.key_nid AND p.state <> 'offline'
          JOIN state_keys k ON k.key_nid = c.key_nid
         WHERE c.room_nid = ANY($1::int[]) AND c.membership = 1
           AND (c.room_nid = ANY($2::int[]) OR c.key_nid = ANY($3::int[]))
           AND {_SERVER_OF} = $4
        """,  # noqa: S608 (constants)
        list(room_nids),
        list(whole),
        list(users),
        our_name,
    )
    return [(row[0], row[1], Presence(*row[2:])) for row in rows]
