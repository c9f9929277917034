"""Sync of rooms that forked: what a client holds is the resolved state, told as `state_after`."""

from typing import Any

import pytest

from homeserver.core.canonical_json import encode_lenient
from homeserver.core.event import Event
from homeserver.core.room_versions import ROOM_VERSIONS, RoomVersion
from homeserver.services.arrivals import Arrivals
from homeserver.services.judging import Arrival
from homeserver.services.room_states import RoomStates
from tests.kit.room_builder import ALICE, BOB, CHARLIE, RoomBuilder
from tests.kit.syncing import Device, Syncing

ME = "@me:example.org"


async def take(syncing: Syncing, event: Event) -> None:
    arrivals = Arrivals(syncing.kit.timeline, RoomStates(syncing.kit.reader, syncing.kit.state_keys))
    arrival = Arrival(event, encode_lenient(event.pdu))
    if event.type == "m.room.create":
        await arrivals.begin(arrival)
    else:
        await arrivals.receive(arrival)


async def resolved(syncing: Syncing) -> dict[tuple[str, str], str]:
    async with syncing.kit.database.read() as conn:
        rows = await conn.fetch("SELECT event_nid FROM current_state")
        events = await syncing.kit.reader.by_nids(conn, [row[0] for row in rows])
    return {event.event.key: event.event.event_id for event in events.values()}


@pytest.mark.parametrize("name", ["2", "10", "12"])
async def test_clients_follow_a_fork(syncing: Syncing, name: str) -> None:
    version: RoomVersion = ROOM_VERSIONS[name]
    room = RoomBuilder(version)
    room.public(ALICE, {BOB: 50})
    room.join(BOB)
    room.join(ME)
    left, right = room.fork(), room.fork()
    left.topic(ALICE, "spring")
    left.join(CHARLIE)
    left.power_levels(ALICE, {} if version.privileged_creators else {ALICE: 100})
    right.topic(BOB, "autumn")
    right.member(BOB, CHARLIE, "ban")
    room.merge(left, right).message(ALICE)
    room.topic(ALICE, "winter")
    devices = [device(syncing, limit) for limit in (1, 20)] + [device(syncing, 20, lazy_load_members=True)]
    for event in room.events.values():
        await take(syncing, event)
        state = await resolved(syncing)
        for one in devices[:2]:
            await one.sync()
            if ("m.room.member", ME) in state:
                assert one.folded.joined[room.room_id].state == state, event
        await devices[2].sync()
    fresh = device(syncing, 20)
    await fresh.sync()
    assert fresh.folded.joined[room.room_id].state == await resolved(syncing)
    assert devices[1].folded.joined[room.room_id].timeline == fresh.folded.joined[room.room_id].timeline


def device(syncing: Syncing, limit: int, **lazy: Any) -> Device:
    wanted = {"room": {"timeline": {"limit": limit}, "state": lazy}}
    return syncing.device(ME, filter=wanted, state_name="state_after")
