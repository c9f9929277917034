"""Events that other servers are to get: those of our users, and those we relay, in the order of the clock."""

from collections.abc import Collection, Sequence

from attrs import field, frozen

from storage.database import Connection

# An event that only joins the ends of forks. COMPAT(other servers hide an event of this name from their users).
SAYS_NOTHING = "org.matrix.dummy_event"

_SERVER_OF = "substr({0}.state_key, strpos({0}.state_key, ':') + 1)"

# What we made stands on events that we had. What does not is our join to a room of others: its resident server
# sends that on.
_EVENTS = f"""
SELECT e.position, e.event_nid, e.room_nid, e.state_sp, e.event_id, e.redacted_by IS NOT NULL AS redacted,
       {_SERVER_OF.format("s")} AS origin, t.key_nid AS member_nid, {_SERVER_OF.format("t")} AS member_server, e.json
  FROM unnest($1::int[], $2::bigint[]) AS w(room_nid, low)
  JOIN events e ON e.room_nid = w.room_nid AND e.position > greatest(w.low, $3) AND e.position <= $4
  JOIN state_keys s ON s.key_nid = e.sender_nid
  LEFT JOIN state_keys t ON t.key_nid = e.key_nid AND t.type = 'm.room.member'
 WHERE e.status = 0 AND e.state_sp IS NOT NULL AND e.type <> '{SAYS_NOTHING}'
   AND ({_SERVER_OF.format("s")} = $5 AND (e.prev_nids <> '{{}}' OR e.type = 'm.room.create')
        OR EXISTS (SELECT 1 FROM relayed_events r WHERE r.event_nid = e.event_nid))
 ORDER BY e.position
 LIMIT $6
"""  # noqa: S608 (constants)


@frozen
class OutboundEvent:
    """An event, with what says whom it is for. `member_*`: whose membership it is, and where they live."""

    position: int
    event_nid: int
    room_nid: int
    state_sp: int
    event_id: str
    redacted: bool
    origin: str
    member_nid: int | None
    member_server: str | None
    json: bytes = field(repr=False)


@frozen
class Span:
    """A part of the clock: after, up to."""

    after: int
    upto: int


async def to_send(
    conn: Connection, our_name: str, rooms: Sequence[tuple[int, int]], span: Span, limit: int
) -> list[OutboundEvent]:
    """For (room_nid, after): the first events of a span that are ours, or ours to relay, oldest first."""
    rows = await conn.fetch(
        _EVENTS,
        [room_nid for room_nid, _ in rooms],
        [low for _, low in rooms],
        span.after,
        span.upto,
        our_name,
        limit,
    )
    return [OutboundEvent(*row) for row in rows]


async def rooms_moved(conn: Connection, after: int) -> list[int]:
    """The rooms whose timelines have grown after a position."""
    rows = await conn.fetch("SELECT room_nid FROM room_heads WHERE position > $1", after)
    return [row[0] for row in rows]


async def missed_rooms(conn: Connection, server: str, after: int, newest: int) -> list[tuple[int, int]]:
    """The rooms that a server is or was in and that have grown since.

    With each the position after which no more than `newest` events stand, if that is later than `after`.
    """
    rows = await conn.fetch(
        f"""
        WITH theirs AS (
            SELECT DISTINCT c.room_nid
              FROM state_keys k JOIN current_state c ON c.key_nid = k.key_nid AND c.membership IS NOT NULL
              JOIN room_heads h ON h.room_nid = c.room_nid AND h.position > $2
             WHERE k.type = 'm.room.member' AND {_SERVER_OF.format("k")} = $1
        )
        SELECT room_nid, greatest($2::bigint, (
                   SELECT e.position FROM events e
                    WHERE e.room_nid = theirs.room_nid AND e.position > $2
                    ORDER BY e.position DESC OFFSET $3 LIMIT 1))
          FROM theirs
        """,  # noqa: S608 (constants)
        server,
        after,
        newest,
    )
    return [(row[0], row[1]) for row in rows]


async def count_to_send(
    conn: Connection, our_name: str, room_nids: Collection[int], span: Span, most: int
) -> int:
    """How many events of ours stand in rooms in a span, counted up to `most`."""
    count: int = await conn.fetchval(
        f"""
        SELECT count(*) FROM (
            SELECT 1 FROM events e JOIN state_keys s ON s.key_nid = e.sender_nid
             WHERE e.room_nid = ANY($1::int[]) AND e.position > $2 AND e.position <= $3 AND e.status = 0
               AND e.type <> '{SAYS_NOTHING}' AND {_SERVER_OF.format("s")} = $4
             LIMIT $5) AS found
        """,  # noqa: S608 (constants)
        list(room_nids),
        span.after,
        span.upto,
        our_name,
        most,
    )
    return count
