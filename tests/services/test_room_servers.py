"""Which servers are in a room: counted once, rolled along the main line, always as the state says."""

import random
from collections.abc import AsyncIterator

import pytest

from homeserver.core.event_build import Draft
from homeserver.core.ids import domain_of
from homeserver.core.room_versions import V11, V12
from homeserver.services.room_servers import RoomServers
from storage.database import Database
from storage.rooms import Room
from tests.kit.services import ALICE, SERVER, Kit, build_kit, founding

PEERS = ("one.example", "two.example:8448", "three.example")


@pytest.fixture
async def kit(database: Database) -> AsyncIterator[Kit]:
    kit = build_kit(database)
    yield kit
    await kit.committer.drain()


def moved(room: Room, user: str, membership: str, *, by: str | None = None) -> Draft:
    content = {"membership": membership}
    return Draft("m.room.member", by or user, content, 1_700_000_000_000, room.room_id, user)


async def wandering(kit: Kit, room: Room, steps: int) -> list[tuple[int, frozenset[str]]]:
    """Users come and go; gives the servers that are there at each length of the main line."""
    users = [f"@{name}:{peer}" for name in "abc" for peer in PEERS]
    inside: set[str] = set()
    banned: set[str] = set()
    told = []
    dice = random.Random(7)
    for _ in range(steps):
        user = dice.choice(users)
        if user in banned:
            banned.discard(user)
            draft = moved(room, user, "leave", by=ALICE)
        elif user in inside:
            inside.discard(user)
            draft = dice.choice([moved(room, user, "leave"), moved(room, user, "ban", by=ALICE)])
            if draft.sender == ALICE:
                banned.add(user)
        else:
            draft = moved(room, user, "join")
            inside.add(user)
        stored = await kit.timeline.send(draft)
        assert stored.line_sp is not None
        told.append((stored.line_sp, frozenset({SERVER, *map(domain_of, inside)})))
    return told


async def test_every_point_of_the_line_can_be_asked_in_any_order(kit: Kit) -> None:
    room, _ = await kit.timeline.create(V12, founding(V12))
    told = await wandering(kit, room, 60)
    dice = random.Random(3)
    warm = RoomServers()
    async with kit.database.read() as conn:
        for _ in range(20):
            asked = dice.sample(told, 4)
            for servers in (warm, RoomServers()):
                found = await servers.at(conn, [(room.nid, sp) for sp, _ in asked])
                assert found == {(room.nid, sp): names for sp, names in asked}
        assert await warm.servers_in(conn, room.nid) == told[-1][1]


async def test_a_warm_room_follows_who_comes_and_goes(kit: Kit) -> None:
    room, _ = await kit.timeline.create(V11, founding(V11))
    servers = RoomServers()
    for user, membership, there in (
        ("@a:one.example", "join", {SERVER, "one.example"}),
        ("@b:two.example", "join", {SERVER, "one.example", "two.example"}),
        ("@a:one.example", "leave", {SERVER, "two.example"}),
    ):
        await kit.timeline.send(moved(room, user, membership))
        async with kit.database.read() as conn:
            assert await servers.servers_in(conn, room.nid) == there


async def test_a_room_we_were_never_in_has_no_servers(kit: Kit) -> None:
    async with kit.database.read() as conn:
        assert await RoomServers().current(conn, [4711]) == {}
        assert await RoomServers().servers_in(conn, 4711) == frozenset()


async def test_who_shares_a_room_with_a_user(kit: Kit) -> None:
    rooms = [
        (await kit.timeline.create(V11, founding(V11, room_id=f"!{name}:example.org")))[0] for name in "abc"
    ]
    for room, peer in zip(rooms, PEERS, strict=True):
        await kit.timeline.send(moved(room, f"@them:{peer}", "join"))
    await kit.timeline.send(moved(rooms[0], "@bob:example.org", "join"))
    alice, bob = [await kit.state_keys.user_nid(user) for user in (ALICE, "@bob:example.org")]
    async with kit.database.read() as conn:
        found = await RoomServers().of_users(conn, [alice, bob, 4711])
    assert found == {alice: frozenset(PEERS) | {SERVER}, bob: {SERVER, PEERS[0]}}


async def test_the_memory_is_bounded(kit: Kit) -> None:
    rooms = [
        (await kit.timeline.create(V11, founding(V11, room_id=f"!{n}:example.org")))[0] for n in range(6)
    ]
    servers = RoomServers(max_names=5)
    async with kit.database.read() as conn:
        for _ in range(2):
            for room in rooms:
                assert await servers.servers_in(conn, room.nid) == {SERVER}
    assert servers.remembered <= 5
