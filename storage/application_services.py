"""What application services are pushed: each one's queue, and what of the clock concerns them.

Users of services are found between two texts (`Spans`), which hold all ids that a namespace may match; the caller, who
has the expressions, looks again.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from attrs import define, field, frozen

from storage.database import Connection

Spans = Sequence[tuple[str, str]]  # user ids from the first to the last, by their bytes


@frozen
class Pending:
    """A transaction that has not been taken yet: its bytes, up to where it tells, whose inboxes it empties."""

    txn_id: int
    upto: int
    device_nids: Sequence[int]
    body: bytes = field(repr=False)


@frozen(kw_only=True)
class Queue:
    """A row of `application_service_queues`; times are in milliseconds."""

    service_id: str
    position: int
    txn_id: int
    pending: Pending | None
    failures: int
    retry_ts: int
    failing_since: int | None
    last_success_ts: int | None
    last_error: str | None


@define(frozen=True)
class PassingEvent:
    """An event of a timeline. `member_nid`: whose membership it is, if it is one."""

    position: int
    event_nid: int
    room_nid: int
    sender_nid: int
    member_nid: int | None


@define(frozen=True)
class Outlier:
    """An invitation of one of ours into a room that we are not in, or its end."""

    position: int
    event_nid: int
    user_nid: int
    stripped_state: str | None


@define(frozen=True)
class Member:
    """A user who is in a room since then."""

    room_nid: int
    user_nid: int
    user_id: str
    since: int


@define(frozen=True)
class MemberChange:
    """What a user was in a room from a position of the clock on."""

    room_nid: int
    user_nid: int
    user_id: str
    event_nid: int | None
    position: int


@define(frozen=True)
class Letter:
    """A to-device message in the inbox of a device."""

    device_nid: int
    user_id: str
    device_id: str
    position: int
    sender: str
    type: str
    content: str


_LEFT = """
    SELECT device_nid, algorithm, uploaded - claimed FROM one_time_key_queues
     WHERE device_nid = ANY($1::int[]) ORDER BY algorithm
"""
_UNUSED = """
    SELECT device_nid, algorithm FROM fallback_keys
     WHERE device_nid = ANY($1::int[]) AND NOT used ORDER BY algorithm
"""


async def begin(conn: Connection, service_ids: Sequence[str], position: int) -> None:
    """Queues for services that have none: they are told what comes after the position."""
    await conn.execute(
        """
        INSERT INTO application_service_queues (service_id, position)
        SELECT s, $2 FROM unnest($1::text[]) AS s ON CONFLICT DO NOTHING
        """,
        service_ids,
        position,
    )


async def queues(conn: Connection, service_ids: Sequence[str]) -> dict[str, Queue]:
    """The queues as they are now."""
    rows = await conn.fetch(
        """
        SELECT service_id, position, txn_id, upto, device_nids, body, failures, retry_ts, failing_since,
               last_success_ts, last_error
          FROM application_service_queues WHERE service_id = ANY($1::text[])
        """,
        service_ids,
    )
    return {
        row[0]: Queue(
            service_id=row[0],
            position=row[1],
            txn_id=row[2],
            pending=None if row[5] is None else Pending(row[2], row[3], row[4], row[5]),
            failures=row[6],
            retry_ts=row[7],
            failing_since=row[8],
            last_success_ts=row[9],
            last_error=row[10],
        )
        for row in rows
    }


async def put_transaction(conn: Connection, service_id: str, pending: Pending) -> bool:
    """Write down what is to be pushed, before it is; False if another process has done so."""
    done = await conn.fetchval(
        """
        UPDATE application_service_queues SET txn_id = $2, upto = $3, device_nids = $4, body = $5
         WHERE service_id = $1 AND txn_id = $2 - 1 AND body IS NULL RETURNING true
        """,
        service_id,
        pending.txn_id,
        pending.upto,
        list(pending.device_nids),
        pending.body,
    )
    return bool(done)


async def delivered(conn: Connection, service_id: str, pending: Pending, now: int) -> None:
    """The service has taken a transaction, and the messages to its devices with it."""
    await conn.execute(
        """
        WITH done AS (
            UPDATE application_service_queues
               SET position = $3, body = NULL, device_nids = '{}', failures = 0, retry_ts = 0,
                   failing_since = NULL, last_success_ts = $4, last_error = NULL
             WHERE service_id = $1 AND txn_id = $2 AND body IS NOT NULL)
        DELETE FROM to_device WHERE device_nid = ANY($5::int[]) AND position <= $3
        """,
        service_id,
        pending.txn_id,
        pending.upto,
        now,
        list(pending.device_nids),
    )


async def failed(
    conn: Connection, service_id: str, txn_id: int, *, now: int, retry_ts: int, why: str
) -> None:
    """The service did not take a transaction."""
    await conn.execute(
        """
        UPDATE application_service_queues
           SET failures = failures + 1, retry_ts = $3, failing_since = coalesce(failing_since, $4), last_error = $5
         WHERE service_id = $1 AND txn_id = $2
        """,
        service_id,
        txn_id,
        retry_ts,
        now,
        why,
    )


async def try_now(conn: Connection, service_ids: Sequence[str]) -> None:
    """Whatever their failures say."""
    await conn.execute(
        "UPDATE application_service_queues SET retry_ts = 0 WHERE service_id = ANY($1::text[])", service_ids
    )


async def moved(conn: Connection, positions: Mapping[str, int]) -> None:
    """There was nothing for services up to these positions."""
    await conn.execute(
        """
        UPDATE application_service_queues q SET position = n.position
          FROM unnest($1::text[], $2::bigint[]) AS n(service_id, position)
         WHERE q.service_id = n.service_id AND q.position < n.position AND q.body IS NULL
        """,
        list(positions),
        list(positions.values()),
    )


async def events_between(
    conn: Connection, after: int, upto: int, room_nids: Collection[int] | None
) -> list[PassingEvent]:
    """The accepted events of a (short) span of the clock, in these rooms or in any, oldest first."""
    where = "h.position > $1" if room_nids is None else "h.room_nid = ANY($3::int[])"
    rows = await conn.fetch(
        f"""
        SELECT e.position, e.event_nid, e.room_nid, e.sender_nid,
               CASE WHEN e.type = 'm.room.member' THEN e.key_nid END
          FROM room_heads h
          CROSS JOIN LATERAL (
              SELECT * FROM events n
               WHERE n.room_nid = h.room_nid AND n.position > $1 AND n.position <= $2 AND n.status = 0) e
         WHERE {where}
         ORDER BY e.position
        """,  # noqa: S608 (one of two texts of ours)
        after,
        upto,
        *(() if room_nids is None else (list(room_nids),)),
    )
    return [PassingEvent(*row) for row in rows]


async def outliers_between(conn: Connection, after: int, upto: int) -> list[Outlier]:
    """What other servers said about memberships of ours in rooms that we are not in."""
    rows = await conn.fetch(
        """
        SELECT m.position, m.event_nid, m.user_nid, m.stripped_state
          FROM local_memberships m JOIN events e USING (event_nid)
         WHERE m.position > $1 AND m.position <= $2 AND m.membership <> 1 AND e.position IS NULL
         ORDER BY m.position
        """,
        after,
        upto,
    )
    return [Outlier(*row) for row in rows]


async def members_now(conn: Connection, room_nids: Collection[int], spans: Spans) -> list[Member]:
    """Our users of the spans who are in the rooms."""
    rows = await conn.fetch(
        """
        SELECT m.room_nid, m.user_nid, k.state_key, m.since
          FROM local_memberships m JOIN state_keys k ON k.key_nid = m.user_nid
         WHERE m.room_nid = ANY($1::int[]) AND m.membership = 1
           AND EXISTS (SELECT FROM unnest($2::text[], $3::text[]) AS s(low, high)
                        WHERE k.state_key BETWEEN s.low AND s.high)
        """,
        list(room_nids),
        *_columns(spans),
    )
    return [Member(*row) for row in rows]


async def member_changes(conn: Connection, lines: Mapping[int, int], spans: Spans) -> list[MemberChange]:
    """For room -> length of its main line: what users of the spans whose membership changed since were then, and
    have been; each user's in order."""
    rows = await conn.fetch(
        """
        WITH changed AS (
            SELECT DISTINCT l.room_nid, l.key_nid, k.state_key, n.low
              FROM unnest($1::int[], $2::int[]) AS n(room_nid, low)
              JOIN state_log l ON l.room_nid = n.room_nid AND l.sp > n.low
              JOIN state_keys k ON k.key_nid = l.key_nid AND k.type = 'm.room.member'
             WHERE EXISTS (SELECT FROM unnest($3::text[], $4::text[]) AS s(low, high)
                            WHERE k.state_key BETWEEN s.low AND s.high))
        SELECT c.room_nid, c.key_nid, c.state_key, l.event_nid, coalesce(e.position, 0)
          FROM changed c
          CROSS JOIN LATERAL (
              (SELECT sp, event_nid FROM state_log
                WHERE room_nid = c.room_nid AND key_nid = c.key_nid AND sp <= c.low ORDER BY sp DESC LIMIT 1)
              UNION ALL
              SELECT sp, event_nid FROM state_log
               WHERE room_nid = c.room_nid AND key_nid = c.key_nid AND sp > c.low) AS l
          LEFT JOIN events e ON e.event_nid = l.event_nid
         ORDER BY c.room_nid, c.key_nid, l.sp
        """,
        list(lines),
        list(lines.values()),
        *_columns(spans),
    )
    return [MemberChange(*row) for row in rows]


async def aliases_of_rooms(conn: Connection, room_nids: Collection[int]) -> list[tuple[int, str]]:
    """(room, alias) of ours."""
    rows = await conn.fetch(
        "SELECT room_nid, alias FROM aliases WHERE room_nid = ANY($1::int[])", list(room_nids)
    )
    return [(row[0], row[1]) for row in rows]


async def rooms_of_users(conn: Connection, user_nids: Collection[int]) -> list[tuple[int, int]]:
    """(user, room) of users of any server, as far as we follow their rooms."""
    rows = await conn.fetch(
        "SELECT key_nid, room_nid FROM current_state WHERE key_nid = ANY($1::int[]) AND membership = 1",
        list(user_nids),
    )
    return [(row[0], row[1]) for row in rows]


async def receipt_rooms(conn: Connection, after: int, upto: int) -> list[int]:
    """The rooms in which somebody has read something in a span of the clock."""
    rows = await conn.fetch(
        """
        SELECT h.room_nid FROM room_heads h
         WHERE EXISTS (SELECT FROM receipts r
                        WHERE r.room_nid = h.room_nid AND r.position > $1 AND r.position <= $2)
        """,
        after,
        upto,
    )
    return [row[0] for row in rows]


async def private_receipt_rooms(
    conn: Connection, user_nids: Collection[int], after: int, upto: int
) -> list[int]:
    """The rooms in which these users of ours have read something in a span of the clock that others do not learn of."""
    rows = await conn.fetch(
        """
        SELECT DISTINCT m.room_nid
          FROM local_memberships m JOIN receipts r USING (room_nid, user_nid)
         WHERE m.user_nid = ANY($1::int[]) AND r.kind = 'm.read.private' AND r.position > $2 AND r.position <= $3
        """,
        list(user_nids),
        after,
        upto,
    )
    return [row[0] for row in rows]


async def presence_between(conn: Connection, after: int, upto: int, limit: int) -> list[int]:
    """Users whose presence is another one since a span of the clock, the last ones first."""
    rows = await conn.fetch(
        "SELECT user_nid FROM presence WHERE position > $1 AND position <= $2 ORDER BY position DESC LIMIT $3",
        after,
        upto,
        limit,
    )
    return [row[0] for row in rows]


async def device_list_changes(conn: Connection, after: int, upto: int) -> list[int]:
    """Users whose devices or keys changed in a span of the clock, for everybody."""
    rows = await conn.fetch(
        "SELECT user_nid FROM device_list_changes WHERE position > $1 AND position <= $2 AND seen_by = 0",
        after,
        upto,
    )
    return [row[0] for row in rows]


async def letters(
    conn: Connection, user_nids: Collection[int] | None, spans: Spans, span: tuple[int, int], limit: int
) -> list[Letter]:
    """To-device messages of (after, upto] for these users, or for any of the spans; the rest of the last position,
    too."""
    rows = await conn.fetch(
        """
        SELECT t.device_nid, a.user_id, d.device_id, t.position, t.sender, t.type, t.content
          FROM accounts a JOIN devices d USING (user_nid) JOIN to_device t USING (device_nid)
         WHERE ($1::int[] IS NULL OR a.user_nid = ANY($1))
           AND EXISTS (SELECT FROM unnest($2::text[], $3::text[]) AS s(low, high)
                        WHERE a.user_id BETWEEN s.low AND s.high)
           AND t.position > $4 AND t.position <= $5
         ORDER BY t.position FETCH FIRST $6 ROWS WITH TIES
        """,
        None if user_nids is None else list(user_nids),
        *_columns(spans),
        *span,
        limit,
    )
    return [Letter(*row) for row in rows]


async def key_counts(
    conn: Connection, user_nids: Iterable[int]
) -> list[tuple[str, str, dict[str, int], list[str]]]:
    """(user id, device id, unclaimed one-time keys by algorithm, unused fallback keys) of users' devices with keys."""
    devices = await conn.fetch(
        """
        SELECT a.user_id, d.device_id, d.device_nid
          FROM devices d JOIN accounts a USING (user_nid) JOIN device_keys k USING (device_nid)
         WHERE a.user_nid = ANY($1::int[]) ORDER BY d.device_nid
        """,
        list(user_nids),
    )
    nids = [row[2] for row in devices]
    left: dict[int, dict[str, int]] = {nid: {} for nid in nids}
    for row in await conn.fetch(_LEFT, nids):
        left[row[0]][row[1]] = row[2]
    unused: dict[int, list[str]] = {nid: [] for nid in nids}
    for row in await conn.fetch(_UNUSED, nids):
        unused[row[0]].append(row[1])
    return [(row[0], row[1], left[row[2]], unused[row[2]]) for row in devices]


def _columns(spans: Spans) -> tuple[list[str], list[str]]:
    return [low for low, _ in spans], [high for _, high in spans]
