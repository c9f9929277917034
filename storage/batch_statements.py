"""The few statements that write room batches, set-wise: heads, events and state in one, then what few batches have.

Everything goes in as arrays (`unnest`), so each statement's text is constant and its plan is prepared once.
Arrays within arrays travel as PostgreSQL's text form of an array, since `unnest` flattens.
"""

from collections.abc import Iterable, Sequence

from storage.database import Connection
from storage.directory import insert_listings
from storage.room_batches import EventRow, HeadMove, RoomBatch, StateChange
from storage.rooms import insert_rooms


def _rows(first: int, types: str) -> str:
    """Parameters from number `first` on, arrays of these types, as rows.

    A plan for "so many elements" is made anew each time, one for arrays of sub-selects is made once and kept: it costs
    as much as all the rest of a message's commit.
    """
    arrays = (f"(SELECT ${number}::{kind}[])" for number, kind in enumerate(types.split(), start=first))
    return f"unnest({', '.join(arrays)})"


_EVENT_TYPES = (
    "int bigint text bigint int text int int bigint int boolean"
    " smallint text int text text int int text int text bytea"
)

# The heads' update reads the clock's row (`c`), so every process locks the clock before any head: no deadlock.
_HEADS_AND_EVENTS = f"""
WITH c AS (
    UPDATE clock SET position = position + $1 RETURNING position - $1 AS base
), h AS (
    UPDATE room_heads AS r
       SET version = n.version, extremities = n.extremities::bigint[], depth = n.depth, sp = n.sp,
           chains = n.chains, joined = n.joined, invited = n.invited, position = c.base + n.last
      FROM c, {_rows(2, "int bigint bigint text bigint int int int int int")}
           AS n(room_nid, expected, version, extremities, depth, sp, chains, joined, invited, last)
     WHERE r.room_nid = n.room_nid AND r.version = n.expected
       AND r.room_nid = ANY((SELECT $2::int[])::int[])  -- says it again, for who would read a small table whole
    RETURNING 1
), e AS (
    INSERT INTO events (room_nid, event_nid, event_id, origin_server_ts, sender_nid, type, key_nid, state_sp,
                        overlay_nid, line_sp, on_line, status, rejection, position, prev_nids, auth_nids, chain,
                        chain_seq, chain_links, txn_device, txn_id, json)
    SELECT n.room_nid, n.event_nid, n.event_id, n.origin_server_ts, n.sender_nid, n.type, n.key_nid, n.state_sp,
           n.overlay_nid, n.line_sp, n.on_line, n.status, n.rejection, c.base + n.ord, n.prev_nids::bigint[],
           n.auth_nids::bigint[], n.chain, n.chain_seq, n.chain_links::int[], n.txn_device, n.txn_id, n.json
      FROM c, {_rows(12, _EVENT_TYPES)}
           AS n(room_nid, event_nid, event_id, origin_server_ts, sender_nid, type, key_nid, state_sp, overlay_nid,
                line_sp, on_line, status, rejection, ord, prev_nids, auth_nids, chain, chain_seq, chain_links,
                txn_device, txn_id, json)
), p AS (
    INSERT INTO notifications (room_nid, position, ord, event_nid, sender_nid, everybody, highlight, user_nids,
                               thread_id, actions)
    SELECT n.room_nid, c.base + n.number, n.ord, n.event_nid, n.sender_nid, n.everybody, n.highlight,
           n.user_nids::int[], n.thread_id, n.actions
      FROM c, {_rows(35, "int int smallint bigint int boolean boolean text text text")}
           AS n(room_nid, number, ord, event_nid, sender_nid, everybody, highlight, user_nids, thread_id, actions)
)"""  # noqa: S608 (constants)

_STATE = f"""
, l AS (
    INSERT INTO state_log (room_nid, key_nid, sp, event_nid)
    SELECT * FROM {_rows(45, "int int int bigint")}
), s AS (
    INSERT INTO current_state AS old (room_nid, key_nid, event_nid, membership)
    SELECT * FROM {_rows(49, "int int bigint smallint")}
    ON CONFLICT (room_nid, key_nid)
    DO UPDATE SET event_nid = excluded.event_nid, membership = excluded.membership
), m AS (
    INSERT INTO local_memberships AS old
                (user_nid, room_nid, membership, event_nid, position, since, stripped_state)
    SELECT n.user_nid, n.room_nid, n.membership, n.event_nid, c.base + n.number, c.base + n.number, n.stripped_state
      FROM c, {_rows(53, "int int smallint bigint int text")}
           AS n(user_nid, room_nid, membership, event_nid, number, stripped_state)
    ON CONFLICT (user_nid, room_nid)
    DO UPDATE SET membership = excluded.membership, event_nid = excluded.event_nid, position = excluded.position,
                  since = CASE WHEN old.membership = excluded.membership THEN old.since ELSE excluded.since END,
                  stripped_state = excluded.stripped_state, forgotten = false
)"""  # noqa: S608 (constants)

_BASE = "SELECT c.base, require_heads((SELECT count(*) FROM h), $34) FROM c"
_MESSAGES = _HEADS_AND_EVENTS + _BASE
_MESSAGES_AND_STATE = _HEADS_AND_EVENTS + _STATE + _BASE

_GONE = """
DELETE FROM current_state AS old
 USING unnest($1::int[], $2::int[]) AS gone(room_nid, key_nid)
 WHERE old.room_nid = gone.room_nid AND old.key_nid = gone.key_nid
"""

RELATIONS = """
INSERT INTO relations (child_nid, position, room_nid, sender_nid, parent_id, rel_type, child_type)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::int[], $5::text[], $6::text[], $7::text[])
ON CONFLICT DO NOTHING
"""

REDACTIONS = """
WITH n AS (
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::int[], $4::boolean[])
        AS n(redaction_nid, redacts, room_nid, applies)
), r AS (
    INSERT INTO redactions (redaction_nid, redacts, room_nid)
    SELECT redaction_nid, redacts, room_nid FROM n ON CONFLICT DO NOTHING
), gone AS (
    UPDATE events AS e SET redacted_by = n.redaction_nid
      FROM n WHERE n.applies AND e.event_id = n.redacts AND e.room_nid = n.room_nid AND e.redacted_by IS NULL
    RETURNING e.event_nid, e.room_nid, e.position
), silent AS (
    UPDATE notifications AS p SET everybody = false, highlight = false, user_nids = '{}', actions = '[]'
      FROM gone WHERE p.room_nid = gone.room_nid AND p.position = gone.position
)
UPDATE relations SET redacted = true FROM gone WHERE relations.child_nid = gone.event_nid
"""

MISSING = """
INSERT INTO missing_events (room_nid, event_id, wanted_by)
SELECT * FROM unnest($1::int[], $2::text[], $3::bigint[]) ON CONFLICT DO NOTHING
"""

FOUND = """
WITH gone AS (
    DELETE FROM missing_events m USING unnest($1::int[], $2::text[]) AS f(room_nid, event_id)
     WHERE m.room_nid = f.room_nid AND m.event_id = f.event_id
    RETURNING m.event_id, m.wanted_by
), links AS (
    SELECT gone.wanted_by, array_agg(e.event_nid) AS nids
      FROM gone JOIN events e ON e.event_id = gone.event_id GROUP BY gone.wanted_by
)
UPDATE events SET prev_nids = prev_nids || links.nids FROM links WHERE event_nid = links.wanted_by
"""


_RELAYED = "INSERT INTO relayed_events (event_nid) SELECT unnest($1::bigint[]) ON CONFLICT DO NOTHING"

_OUTLIERS = "DELETE FROM events WHERE event_nid = ANY($1::bigint[]) AND state_sp IS NULL"


class Unchained(Exception):
    """Batches of one room that do not follow each other: one of them stands on a head that was given up."""


async def write_batches(conn: Connection, batches: Sequence[RoomBatch], total: int) -> int:
    """Write `batches`, taking `total` numbers of the clock; returns the number before the first of them.

    Batches of one room must follow each other, or Unchained is raised. The first one's `expected` head must be
    found, or nothing is written and PostgreSQL answers with the error HM001.
    """
    heads = _heads(batches)
    new_rooms = [(batch.new_room, batch.events[0]) for batch in batches if batch.new_room is not None]
    if new_rooms:
        await insert_rooms(conn, [(room, first.origin_server_ts) for room, first in new_rooms])
        await insert_listings(conn, [batch for batch in batches if batch.listing is not None])
    if outliers := [nid for batch in batches for nid in batch.outliers]:
        await conn.execute(_OUTLIERS, outliers)
    rows = [(batch.room_nid, event, number) for batch, event, number in _numbered(batches)]
    parameters = [
        total, *_head_columns(heads), *_event_columns(rows), len(heads), *_notice_columns(batches)
    ]  # fmt: skip
    state = _state_columns(batches)
    base: int = await conn.fetchval(_MESSAGES_AND_STATE if state else _MESSAGES, *parameters, *state)
    await _write_rest(conn, batches, base)
    return base


def _heads(batches: Sequence[RoomBatch]) -> list[tuple[HeadMove, int, int]]:
    """One move a room: from what the first batch expects to what the last one makes, with its last number."""
    first: dict[int, int] = {}
    last: dict[int, tuple[HeadMove, int]] = {}
    number = 0
    for batch in batches:
        number += batch.numbered
        first.setdefault(batch.room_nid, batch.head.expected)
        if batch.room_nid in last and last[batch.room_nid][0].version != batch.head.expected:
            raise Unchained(f"two batches stand on different heads of room number {batch.room_nid}")
        last[batch.room_nid] = (batch.head, number)
    return [(head, first[room_nid], number) for room_nid, (head, number) in last.items()]


def _numbered(batches: Sequence[RoomBatch]) -> Iterable[tuple[RoomBatch, EventRow, int | None]]:
    number = 0
    for batch in batches:
        number += batch.reserve
        for event in batch.events:
            number += event.in_timeline
            yield batch, event, number if event.in_timeline else None


def _head_columns(heads: list[tuple[HeadMove, int, int]]) -> list[list[object]]:
    rows = [
        (
            h.room_nid,
            expected,
            h.version,
            _array(h.extremities),
            h.depth,
            h.sp,
            h.chains,
            h.joined,
            h.invited,
            last,
        )
        for h, expected, last in heads
    ]
    return [list(column) for column in zip(*rows, strict=True)]


def _event_columns(rows: list[tuple[int, EventRow, int | None]]) -> list[list[object]]:
    if not rows:
        return [[] for _ in range(22)]
    values = [
        (
            room_nid, e.event_nid, e.event_id, e.origin_server_ts, e.sender_nid, e.type, e.key_nid, e.state_sp,
            e.overlay_nid, e.line_sp, e.on_line, e.status, e.rejection, number, _array(e.prev_nids),
            _array(e.auth_nids), e.chain, e.chain_seq, None if e.chain_links is None else _array(e.chain_links),
            e.txn_device, e.txn_id, e.json,
        )
        for room_nid, e, number in rows
    ]  # fmt: skip
    return [list(column) for column in zip(*values, strict=True)]


def _notice_columns(batches: Sequence[RoomBatch]) -> list[list[object]]:
    rows: list[tuple[object, ...]] = []
    before = 0
    for batch in batches:
        if batch.notices:
            numbers = _positions(batch, before)
            for ord_, notice in enumerate(batch.notices):
                event = batch.events[notice.event_index]
                rows.append(
                    (
                        batch.room_nid, numbers[notice.event_index], ord_, event.event_nid, event.sender_nid,
                        notice.everybody, notice.highlight, _array(notice.user_nids), notice.thread_id,
                        notice.actions,
                    )
                )  # fmt: skip
        before += batch.numbered
    return columns(rows, 10)


def _state_columns(batches: Sequence[RoomBatch]) -> list[list[object]]:
    """What the statement with state takes beyond the one without; nothing where no state changes."""
    log = [(b.room_nid, s.key_nid, s.sp, s.event_nid) for b in batches for s in b.state]
    members = _memberships(batches)
    if not log and not members:
        return []
    kept = [(*key, s.event_nid, s.membership) for key, s in _final(batches).items() if s.event_nid]
    return [*columns(log, 4), *columns(kept, 4), *columns(members, 6)]


def _final(batches: Sequence[RoomBatch]) -> dict[tuple[int, int], StateChange]:
    """What becomes of each key of the main lines; no event: it is unset."""
    return {(batch.room_nid, change.key_nid): change for batch in batches for change in batch.state}


def _memberships(batches: Sequence[RoomBatch]) -> list[tuple[object, ...]]:
    """The last membership of each user and room, with the place of its event in the turn."""
    final: dict[tuple[int, int], tuple[object, ...]] = {}
    before = 0
    for batch in batches:
        positions = _positions(batch, before)
        for m in batch.memberships:
            number = positions[m.event_index] or before
            row = (m.user_nid, batch.room_nid, m.membership, m.event_nid, number, m.stripped_state)
            final[m.user_nid, batch.room_nid] = row
        before += batch.numbered
    return list(final.values())


def _positions(batch: RoomBatch, before: int) -> list[int | None]:
    positions: list[int | None] = []
    before += batch.reserve
    for event in batch.events:
        before += event.in_timeline
        positions.append(before if event.in_timeline else None)
    return positions


async def _write_rest(conn: Connection, batches: Sequence[RoomBatch], base: int) -> None:
    relations: list[tuple[object, ...]] = []
    before = base
    for batch in batches:
        positions = _positions(batch, before)
        relations += [
            (
                r.child_nid,
                positions[r.event_index],
                batch.room_nid,
                r.sender_nid,
                r.parent_id,
                r.rel_type,
                r.child_type,
            )
            for r in batch.relations
        ]
        before += batch.numbered
    redactions = [(r.redaction_nid, r.redacts, b.room_nid, r.applies) for b in batches for r in b.redactions]
    missing = [(b.room_nid, event_id, nid) for b in batches for event_id, nid in b.missing]
    found = [(b.room_nid, event_id) for b in batches for event_id in b.found]
    relayed = [(nid,) for b in batches for nid in b.relayed]
    gone = [key for key, change in _final(batches).items() if change.event_nid is None]
    for statement, rows, width in (
        (_GONE, gone, 2),
        (RELATIONS, relations, 7),
        (REDACTIONS, redactions, 4),
        (MISSING, missing, 3),
        (FOUND, found, 2),
        (_RELAYED, relayed, 1),
    ):
        if rows:
            await conn.execute(statement, *columns(rows, width))


def columns(rows: Sequence[Sequence[object]], width: int) -> list[list[object]]:
    """Rows as the arrays that a statement takes, also where there is none."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def _array(numbers: Sequence[int]) -> str:
    """PostgreSQL's text form of an array of integers."""
    return "{" + ",".join(map(str, numbers)) + "}"
