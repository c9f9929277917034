"""Whatever happens, and however clients ask meanwhile: what they know of people is what these say of themselves."""

import asyncio
from typing import Any

from attrs import define, field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeserver.services.profiles import Profiles
from storage import profiles
from storage.memberships import joined_rooms
from tests.kit.sliding import SlidingDevice
from tests.kit.syncing import Syncing
from tests.properties.test_sync_folds import NUMBERS, USERS, World, memberships, moves, rooms, users

FIELDS = ("m.a", "m.b")
STATES: list[dict[str, Any]] = [{"include": []}, {"include": [{}]}, {"include": [], "lazy_members": True}]
STATE_OF = {"steady": 0, "lazy": 2, "wander": 0}

wishes = st.fixed_dictionaries(
    {
        "end": st.sampled_from([None, 0, 0, 1]),
        "state": st.integers(0, len(STATES) - 1),
        "fields": st.sampled_from([None, None, ["m.a"], []]),
        "on": st.sampled_from([True, True, False]),
        "lists": st.sampled_from([None, None, []]),
        "lost": st.booleans(),
    }
)
steps = st.one_of(
    st.tuples(st.just("say"), users, rooms),
    st.tuples(st.just("member"), st.just("alice"), rooms, memberships, users),
    st.tuples(st.just("move"), users, rooms, moves),
    *[st.tuples(st.just("set"), users, st.sampled_from(FIELDS))] * 2,
    st.tuples(st.just("drop"), users, st.sampled_from(FIELDS)),
    *[st.tuples(st.just("steady"), users)] * 2,
    *[st.tuples(st.just("wander"), users, wishes)] * 3,
)
histories = st.lists(steps, min_size=20, max_size=60)


def steady(state: int = 0, end: int | None = None, **extension: Any) -> dict[str, Any]:
    window = {} if end is None else {"range": [0, end]}
    profiles = {"enabled": True, **extension}
    return {
        "lists": {"all": {"timeline_limit": 2, "required_state": STATES[state], **window}},
        "extensions": {"profiles": profiles, "e2ee": {"enabled": True}},
    }


@define(eq=False)
class People(World):
    """The same world, whose users say things about themselves."""

    clients: dict[str, list[SlidingDevice]] = field(factory=dict)

    async def begin(self) -> None:
        for name in USERS:
            await self.syncing.add_account(self.user(name))
            self.clients[name] = [
                SlidingDevice(self.syncing, self.user(name), kind) for kind in ("steady", "lazy", "wander")
            ]
        await super().begin()

    async def do(self, step: tuple[Any, ...]) -> None:
        if step[0] in ("steady", "wander"):
            await getattr(self, step[0])(*step[1:])
        else:
            await super().do(step)

    async def set(self, user: str, name: str) -> None:
        self.count += 1
        await profiles_of(self.syncing).set_field(user, name, {name: self.count})

    async def drop(self, user: str, name: str) -> None:
        await profiles_of(self.syncing).delete_field(user, name)

    async def steady(self, name: str) -> None:
        await self.clients[name][0].sync(steady())
        await self.clients[name][1].sync(steady(2))

    async def wander(self, name: str, wish: dict[str, Any]) -> None:
        extension = {key: wish[key] for key in ("fields", "lists") if wish[key] is not None}
        body = steady(wish["state"], wish["end"], enabled=wish["on"], **extension)
        client = self.clients[name][2]
        if wish["lost"]:
            await client.ask(body) if client.pos is not None else None
        else:
            await client.sync(body)


def profiles_of(syncing: Syncing) -> Profiles:
    return Profiles(syncing.kit.committer, "example.org")


async def actual(syncing: Syncing, reader: str, user_ids: list[str]) -> dict[str, dict[str, Any]]:
    """The profiles of the reader and of those who share rooms with them."""
    found = {}
    nids = {user_id: await syncing.kit.state_keys.user_nid(user_id) for user_id in user_ids}
    async with syncing.kit.database.read() as conn:
        shared = set(await joined_rooms(conn, nids[reader]))
        for user_id, nid in nids.items():
            if user_id == reader or shared & set(await joined_rooms(conn, nid)):
                found[user_id] = await profiles.fields_of(conn, nid)
    return found


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories)
async def test_clients_know_what_people_say(syncing: Syncing, history: list[tuple[Any, ...]]) -> None:
    world = People(syncing, NUMBERS.next())
    await world.begin()
    for step in history:
        await world.do(step)
    await syncing.settle()
    everybody = [world.user(name) for name in USERS]
    for name in USERS:
        true = await actual(syncing, world.user(name), everybody)
        for client in world.clients[name]:
            state = STATE_OF[client.conn_id]
            await client.sync(steady(state))
            known = client.folded.people
            shown = true.keys() if state == 0 else true.keys() & (known.keys() | speakers(client))
            assert {user: known.get(user, {}) for user in shown} == {user: true[user] for user in shown}
            if client.conn_id != "wander":  # who does not listen may miss that somebody went out of sight
                assert known.keys() <= true.keys()
            assert (await client.sync(steady(state)))["extensions"].keys() <= {"e2ee"}


def speakers(client: SlidingDevice) -> set[str]:
    joined = [room for room in client.folded.rooms.values() if room.facts["membership"] == "join"]
    return {sender for room in joined for sender in room.senders}


async def test_nothing_is_lost_between_changes_moves_and_requests(syncing: Syncing) -> None:
    world = People(syncing, NUMBERS.next())
    await world.begin()
    bob, carol = world.user("bob"), world.user("carol")
    await world.move(carol, 0, "join")
    done = asyncio.Event()

    async def listen(device: SlidingDevice) -> None:
        while not done.is_set():
            await device.sync(steady(STATE_OF[device.conn_id]), timeout=0.2)

    async def change() -> None:
        for _ in range(40):
            await world.set(bob, "m.a")

    async def come_and_go() -> None:
        for _ in range(10):
            await world.move(bob, 0, "leave")
            await world.move(bob, 0, "join")

    listeners = [asyncio.create_task(listen(device)) for device in world.clients["carol"][:2]]
    await asyncio.gather(change(), change(), come_and_go())
    done.set()
    await asyncio.gather(*listeners)
    true = await actual(syncing, carol, [bob, carol])
    assert true[bob]
    for device in world.clients["carol"][:2]:
        await device.sync(steady(STATE_OF[device.conn_id]))
        assert device.folded.people[bob] == true[bob]
