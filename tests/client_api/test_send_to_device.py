"""Messages to devices: once, in order, to those who are there."""

import orjson
import pytest

from homeserver.services import to_device as service
from homeserver.services.to_device import ToDevice
from storage import to_device as storage
from storage.committer import Committer
from storage.state_keys import StateKeys
from tests.kit.server import Client, RunningServer


async def send(client: Client, txn: str, messages, kind: str = "m.test"):
    return await client.put(f"/v3/sendToDevice/{kind}/{txn}", {"messages": messages})


def inbox(answer):
    events = answer.get("to_device", {}).get("events", [])
    return [(event["sender"], event["type"], event["content"]) for event in events]


async def test_messages_arrive_once_and_in_order(server):
    alice, bob = await server.register("alice"), await server.register("bob", device_id="B")
    phone = await server.login("bob", device_id="P")
    for number in range(3):
        for _ in range(2):  # a repeated request changes nothing
            await send(alice, f"t{number}", {bob.user_id: {"B": {"n": number}, "P": {"p": number}}})
    first = await bob.get("/v3/sync")
    assert inbox(first) == [(alice.user_id, "m.test", {"n": number}) for number in range(3)]
    again = await bob.get("/v3/sync")  # not acknowledged yet
    assert inbox(again) == inbox(first)
    await send(alice, "t3", {bob.user_id: {"B": {"n": 3}}}, "m.other")
    next_one = await bob.get("/v3/sync", since=first["next_batch"])
    assert inbox(next_one) == [(alice.user_id, "m.other", {"n": 3})]
    assert inbox(await bob.get("/v3/sync", since=next_one["next_batch"])) == []
    assert [content for _, _, content in inbox(await phone.get("/v3/sync"))] == [{"p": n} for n in range(3)]


async def test_a_waiting_sync_is_woken(server):
    alice, bob = await server.register("alice"), await server.register("bob", device_id="B")
    since = (await bob.get("/v3/sync"))["next_batch"]
    await send(alice, "t", {bob.user_id: {"B": {"n": 1}}})
    assert inbox(await bob.get("/v3/sync", since=since, timeout=10_000)) == [
        (alice.user_id, "m.test", {"n": 1})
    ]


async def test_a_star_means_all_devices(server):
    alice, bob = await server.register("alice"), await server.register("bob", device_id="B")
    phone = await server.login("bob", device_id="P")
    await send(alice, "t", {bob.user_id: {"*": {"for": "all"}, "P": {"for": "phone"}}})
    assert inbox(await bob.get("/v3/sync")) == [(alice.user_id, "m.test", {"for": "all"})]
    assert inbox(await phone.get("/v3/sync")) == [(alice.user_id, "m.test", {"for": "phone"})]


@pytest.mark.parametrize("many", [1, 1000])
async def test_few_and_many_messages_arrive_the_same(server, monkeypatch, many):
    monkeypatch.setattr(storage, "MANY", many)
    alice, bob = await server.register("alice"), await server.register("bob", device_id="B")
    phone = await server.login("bob", device_id="P")
    await send(alice, "t0", {bob.user_id: {"P": {"text": "naïve \0 ☃"}, "gone": {}, "B": {"n": 1}}})
    await send(
        alice, "t1", {bob.user_id: {"*": {"for": "all"}, "P": {"for": "phone"}}, alice.user_id: {"*": {}}}
    )
    await send(alice, "t2", {bob.user_id: {"gone": {}}})
    await receiver(server).receive(
        "far.example",
        [
            direct(bob, message_id="a", messages={bob.user_id: {"B": {"n": 2}}}),
            direct(bob, message_id="b", type="m.other", messages={bob.user_id: {"*": {"n": 3}}}),
        ],
    )
    assert inbox(await bob.get("/v3/sync")) == [
        (alice.user_id, "m.test", {"n": 1}),
        (alice.user_id, "m.test", {"for": "all"}),
        ("@eve:far.example", "m.test", {"n": 2}),
        ("@eve:far.example", "m.other", {"n": 3}),
    ]
    assert inbox(await phone.get("/v3/sync")) == [
        (alice.user_id, "m.test", {"text": "naïve \0 ☃"}),
        (alice.user_id, "m.test", {"for": "phone"}),
        ("@eve:far.example", "m.other", {"n": 3}),
    ]


async def test_a_transaction_is_one_of_its_type_and_device(server):
    alice, bob = await server.register("alice"), await server.register("bob", device_id="B")
    other = await server.login("alice")
    for client, kind in ((alice, "m.a"), (alice, "m.b"), (other, "m.a")):
        await send(client, "same", {bob.user_id: {"B": {}}}, kind)
    assert [kind for _, kind, _ in inbox(await bob.get("/v3/sync"))] == ["m.a", "m.b", "m.a"]


async def test_who_is_not_there_gets_nothing(server):
    alice = await server.register("alice", device_id="A")
    await send(
        alice,
        "t",
        {"@none:localhost": {"*": {}}, alice.user_id: {"none": {}}, "no user": {"*": {}}, "@b:c": {}},
    )
    async with server.database.read() as conn:
        assert await conn.fetchval("SELECT count(*) FROM to_device") == 0
        assert await conn.fetchval("SELECT count(*) FROM outbound_to_device") == 0


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({}, (400, "M_MISSING_PARAM")),
        ({"messages": []}, (400, "M_BAD_JSON")),
        ({"messages": {"@a:b": []}}, (400, "M_BAD_JSON")),
        ({"messages": {"@a:b": {"A": "x"}}}, (400, "M_BAD_JSON")),
        ({"messages": {"@a:b": {"A\0": {}}}}, (400, "M_BAD_JSON")),
        ({"messages": {"@a:b": {"A": {"x": "y" * 66_000}}}}, (413, "M_TOO_LARGE")),
    ],
)
async def test_malformed_messages_are_refused(server, body, refusal):
    alice = await server.register("alice", device_id="A")
    assert await alice.refused("PUT", "/v3/sendToDevice/m.test/t", body) == refusal


async def test_of_a_refused_request_nothing_is_kept(server):
    alice, bob = await server.register("alice", device_id="A"), await server.register("bob", device_id="B")
    for bad in ({"x": "y" * 66_000}, "x"):
        messages = {
            bob.user_id: {"B": {"n": 1}},
            "@far:elsewhere.example": {"F": {}},
            alice.user_id: {"A": bad},
        }
        await alice.refused("PUT", "/v3/sendToDevice/m.test/t", {"messages": messages})
    async with server.database.read() as conn:
        assert await conn.fetchval("SELECT count(*) FROM to_device") == 0
        assert await conn.fetchval("SELECT count(*) FROM outbound_to_device") == 0
    await send(alice, "t", {bob.user_id: {"B": {"n": 2}}})  # nor is its transaction id
    assert inbox(await bob.get("/v3/sync")) == [(alice.user_id, "m.test", {"n": 2})]


async def test_long_queues_are_told_in_parts(server):
    alice, bob = await server.register("alice"), await server.register("bob", device_id="B")
    for number in range(250):
        await send(alice, f"t{number}", {bob.user_id: {"B": {"n": number}}})
    seen, sizes, since = [], [], None
    while True:
        answer = await bob.get("/v3/sync", since=since)
        since = answer["next_batch"]
        got = [content["n"] for _, _, content in inbox(answer)]
        if not got:
            break
        seen += got
        sizes.append(len(got))
    assert seen == list(range(250))
    assert sizes == [100, 100, 50]


async def test_messages_for_other_servers_wait_in_small_parts(server, monkeypatch):
    monkeypatch.setattr(service, "MAX_EDU", 100)
    alice = await server.register("alice")
    contents = {f"D{number}": {"text": "x" * 40, "n": number} for number in range(5)}
    messages = {
        "@a:one.example": contents,
        "@b:one.example": {"*": {}},
        "@c:two.example:8448": {"C": {"f": 1.5}},
    }
    for _ in range(2):
        await send(alice, "t", messages)
    async with server.database.read() as conn:
        rows = await conn.fetch("SELECT destination, edu FROM outbound_to_device ORDER BY position, ord")
    edus = [(row[0], orjson.loads(row[1])) for row in rows]
    assert all(edu["edu_type"] == "m.direct_to_device" for _, edu in edus)
    assert all(edu["content"]["sender"] == alice.user_id for _, edu in edus)
    assert len({edu["content"]["message_id"] for _, edu in edus}) == len(edus)
    told = {}
    for destination, edu in edus:
        for user_id, devices in edu["content"]["messages"].items():
            assert user_id.endswith(destination)
            told.setdefault(user_id, {}).update(devices)
    assert told == messages
    assert len([edu for destination, edu in edus if destination == "one.example"]) > 2


def nested(levels: int):
    value = {}
    for _ in range(levels):
        value = {"x": value}
    return value


def receiver(server: RunningServer) -> ToDevice:
    committer = Committer(server.database, lambda position, commits: None)
    return ToDevice(server.database, committer, StateKeys(server.database), "localhost")


def direct(bob: Client, **changed):
    content = {
        "sender": "@eve:far.example",
        "type": "m.test",
        "message_id": "1",
        "messages": {bob.user_id: {"B": {"x": 1}}},
    }
    return {**content, **changed}


async def test_what_other_servers_send_is_delivered_once(server):
    bob = await server.register("bob", device_id="B")
    service = receiver(server)
    for _ in range(2):
        await service.receive("far.example", [direct(bob)])
    await service.receive("far.example", [direct(bob, message_id="2")])
    assert inbox(await bob.get("/v3/sync")) == [("@eve:far.example", "m.test", {"x": 1})] * 2


async def test_what_comes_together_is_one_write_and_keeps_its_order(server):
    bob = await server.register("bob", device_id="B")
    await server.login("bob", device_id="P")
    service = receiver(server)
    await service.receive("far.example", [direct(bob, message_id="3")])
    letters = []
    for number in range(6):
        told = {"n": number, "deep": [number]}
        messages = {bob.user_id: {"*" if number == 4 else "B": told}, "@none:localhost": {"*": {}}}
        sender = f"@eve{number % 2}:far.example"
        letters.append(direct(bob, message_id=str(number), sender=sender, messages=messages))
    letters.insert(
        2, direct(bob, message_id="0", sender="@eve:elsewhere.example")
    )  # forged: the others arrive
    letters.insert(3, direct(bob, message_id="1"))  # twice in a transaction
    before = service.committer.statistics.turns
    for _ in range(2):
        await service.receive("far.example", letters)
    assert service.committer.statistics.turns == before + 2
    told = inbox(await bob.get("/v3/sync"))
    assert told[0] == ("@eve:far.example", "m.test", {"x": 1})
    assert [(sender, content["n"]) for sender, _, content in told[1:]] == [
        (f"@eve{number % 2}:far.example", number) for number in (0, 1, 2, 4, 5)
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"sender": "@eve:other.example"},
        {"sender": "@bob:localhost"},
        {"sender": 7},
        {"type": None},
        {"type": "a\0"},
        {"message_id": "x" * 33},
        {"message_id": 7},
        {"messages": []},
        {"messages": {"@bob:localhost": {"B": "x"}}},
        {"messages": {"@bob:localhost": {"B": {"x": "y" * 66_000}}}},
        {"messages": {"@bob:localhost": {"B": nested(300)}}},
    ],
)
async def test_what_is_forged_or_malformed_is_dropped(server, changed):
    bob = await server.register("bob", device_id="B")
    await receiver(server).receive("far.example", [direct(bob, **changed)])
    assert inbox(await bob.get("/v3/sync")) == []
