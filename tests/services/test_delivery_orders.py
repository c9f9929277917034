"""Whatever order a room's events arrive in, the state before each of them and the current state are the same."""

import random
from collections.abc import Iterable

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from homeserver.core.canonical_json import encode_lenient
from homeserver.core.event import Event, StateKey
from homeserver.core.receipt_checks import Accepted, Rejected
from homeserver.core.room_versions import V1, V6, V11, V12, RoomVersion
from homeserver.services.arrivals import Arrivals
from homeserver.services.judging import Arrival, Waiting
from homeserver.services.room_states import RoomStates
from storage import room_state
from storage.database import Connection, Database
from storage.room_state import StatePoint
from tests.kit.lawful_room import lawful_room
from tests.kit.services import Kit, build_kit

ORDERS = 3
States = dict[str, dict[StateKey, str]]


@pytest.mark.parametrize("version", [V1, V6, V11, V12], ids=lambda version: f"v{version.name}")
@given(seed=st.integers(0, 2**64))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_order_of_delivery_gives_the_same_states(
    database: Database, version: RoomVersion, seed: int
) -> None:
    """What is soft-failed depends on the order, and so may the extremities; a last event follows all branches."""
    rng = random.Random(seed)
    room = lawful_room(version, rng, events=20)
    followed = {parent for event in room.events.values() for parent in event.prev_events}
    room = room.fork(*(event for event in room.events.values() if event.event_id not in followed))
    joined = [key[1] for key, event in room.state.items() if event.membership == "join"]
    assume(joined)
    last = room.message(joined[0])
    for _ in range(ORDERS):
        await forget_rooms(database)
        kit = build_kit(database)
        verdicts = await deliver(kit, rng, room.events.values())
        assert not [verdict for verdict in verdicts.values() if isinstance(verdict, Rejected)]
        assert await states_before(kit) == room.record.state_before
        if verdicts[last.event_id] == Accepted():
            assert await current_state(kit) == room.record.state_after[last.event_id]
        await kit.committer.drain()


async def deliver(kit: Kit, rng: random.Random, events: Iterable[Event]) -> dict[str, object]:
    """The verdicts on events that come in any order and any company, again and again until nothing waits."""
    arrivals = Arrivals(kit.timeline, RoomStates(kit.reader, kit.state_keys))
    create, *parked = events
    await arrivals.begin(arrival(create))
    verdicts: dict[str, object] = {}
    while parked:
        rng.shuffle(parked)
        before = len(verdicts)
        start = 0
        while start < len(parked):
            batch = parked[start : start + rng.choice([1, 3, 12])]
            start += len(batch)
            answers = await arrivals.receive_all(create.room_id, [arrival(event) for event in batch])
            verdicts |= {id_: told for id_, told in answers.items() if not isinstance(told, Waiting)}
        parked = [event for event in parked if event.event_id not in verdicts]
        assert len(verdicts) > before, "the events that wait are waiting for each other"
    return verdicts


def arrival(event: Event) -> Arrival:
    return Arrival(event, encode_lenient(event.pdu))


async def states_before(kit: Kit) -> States:
    """The state before each event, as it is stored."""
    async with kit.database.read() as conn:
        rows = await conn.fetch("SELECT event_id, room_nid, state_sp, overlay_nid FROM events")
        overlays = await room_state.load_overlays(conn, [row[3] for row in rows if row[3] is not None])
        named = await names(conn)
        return {
            row["event_id"]: {
                named[nid][0]: named[nid][1]
                for nid in (
                    await room_state.whole(
                        conn,
                        row["room_nid"],
                        StatePoint(row["state_sp"])
                        if row["overlay_nid"] is None
                        else overlays[row["overlay_nid"]],
                    )
                ).values()
            }
            for row in rows
        }


async def current_state(kit: Kit) -> dict[StateKey, str]:
    async with kit.database.read() as conn:
        named = await names(conn)
        return dict([named[row[0]] for row in await conn.fetch("SELECT event_nid FROM current_state")])


async def names(conn: Connection) -> dict[int, tuple[StateKey, str]]:
    """The key that each state event sets, and its id."""
    rows = await conn.fetch(
        "SELECT event_nid, k.type, state_key, event_id FROM events JOIN state_keys k USING (key_nid)"
    )
    return {row[0]: ((row[1], row[2]), row[3]) for row in rows}


async def forget_rooms(database: Database) -> None:
    async with database.transaction() as conn:
        await conn.execute(
            "TRUNCATE rooms, room_heads, events, missing_events, state_log, state_overlays, current_state,"
            " local_memberships, relations, redactions"
        )
