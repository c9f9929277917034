"""What application services are pushed, and what becomes of it when they fail [as "Pushing events"]."""

import asyncio

import orjson
import pytest
from aiohttp import web
from attrs import evolve

from tests.kit.application_service import listening, registered, registration_of
from tests.kit.server import plain_config, running

GHOST = "@_irc_anna:localhost"


@pytest.fixture
async def irc():
    async with listening("irc") as service:
        yield service


@pytest.fixture
def config(irc, tmp_path):
    registration = registration_of(
        "irc", users=["@_irc_.*"], aliases=["#_irc_.*"], url=irc.url, receive_ephemeral=True
    )
    return plain_config(tmp_path, application_services=registered(tmp_path, registration))


@pytest.fixture
async def server(pg_url, config):
    async with running(pg_url, config) as server:
        yield server


async def ghost(server, irc, name="_irc_anna"):
    body = {"type": "m.login.application_service", "username": name, "inhibit_login": True}
    await irc.client(server).post("/v3/register", body)
    return f"@{name}:localhost"


async def say(client, room_id, text, **query):
    path = f"/v3/rooms/{room_id}/send/m.room.message/{text.replace(' ', '-')}"
    return (await client.put(path, {"msgtype": "m.text", "body": text}, **query))["event_id"]


async def public_room(client):
    return (await client.post("/v3/createRoom", {"preset": "public_chat"}))["room_id"]


async def test_rooms_in_which_a_user_of_the_service_is(server, irc):
    alice = await server.register("alice")
    await ghost(server, irc)
    room_id, elsewhere = await public_room(alice), await public_room(alice)
    before = await say(alice, room_id, "before")
    await irc.client(server).post(f"/v3/join/{room_id}", {}, user_id=GHOST)
    unseen = await say(alice, elsewhere, "elsewhere")
    during = await say(alice, room_id, "during")
    event = await irc.event(during)
    assert event["content"]["body"] == "during"
    assert event["room_id"] == room_id
    assert event["sender"] == "@alice:localhost"
    assert event["unsigned"]["age"] >= 0
    await irc.client(server).post(f"/v3/rooms/{room_id}/leave", {}, user_id=GHOST)
    after = await say(alice, room_id, "after")
    await irc.client(server).post(f"/v3/join/{room_id}", {}, user_id=GHOST)
    await irc.event(await say(alice, room_id, "again"))
    told = [event["event_id"] for event in irc.events]
    assert not {before, unseen, after} & set(told)
    kinds = [(event["type"], event["content"].get("membership")) for event in irc.events]
    assert [kind for kind in kinds if kind[0] == "m.room.member"] == [
        ("m.room.member", "join"),
        ("m.room.member", "leave"),
        ("m.room.member", "join"),
    ]
    assert irc.tokens == {"Bearer hs_token_of_irc"}
    assert [int(txn_id) for txn_id, _ in irc.transactions] == list(range(1, len(irc.transactions) + 1))


async def test_invitations_and_rooms_with_aliases(server, irc):
    alice = await server.register("alice")
    await ghost(server, irc)
    room_id = await public_room(alice)
    await alice.post(f"/v3/rooms/{room_id}/invite", {"user_id": GHOST})
    invite = await irc.until(lambda: irc.events and irc.events[0])
    assert (invite["state_key"], invite["content"]["membership"]) == (GHOST, "invite")
    named = await public_room(alice)
    alias = "/v3/directory/room/%23_irc_tea:localhost"
    await irc.client(server).put(alias, {"room_id": named})
    await irc.event(await say(alice, named, "into the alias"))
    await irc.client(server).delete(alias)
    unseen = await say(alice, named, "no longer")
    await alice.post(f"/v3/rooms/{room_id}/invite", {"user_id": "@irc_sender:localhost"})
    await irc.until(lambda: any(event.get("state_key") == "@irc_sender:localhost" for event in irc.events))
    assert unseen not in [event["event_id"] for event in irc.events]


async def test_nothing_is_left_out_or_told_twice_while_much_happens(server, irc):
    """Commits come while a page is read: each event is in one transaction, in the order of its room."""
    people = [await server.register() for _ in range(4)]
    await ghost(server, irc)
    rooms = [await public_room(one) for one in people]
    for room_id in rooms:
        await irc.client(server).post(f"/v3/join/{room_id}", {}, user_id=GHOST)

    async def chatter(client, room_id):
        return [await say(client, room_id, f"{room_id[1:6]} {index}") for index in range(40)]

    said = await asyncio.gather(*map(chatter, people, rooms))
    for ids in said:
        await irc.event(ids[-1])
    for room_id, ids in zip(rooms, said, strict=True):
        told = [event for event in irc.events if event["room_id"] == room_id]
        assert [event["event_id"] for event in told if event["type"] == "m.room.message"] == ids


async def test_users_of_the_service_whom_it_invites_and_creates_rooms_with(server, irc):
    await ghost(server, irc)
    room_id = (await irc.client(server).post("/v3/createRoom", {"name": "x"}, user_id=GHOST))["room_id"]
    await irc.until(lambda: any(event["type"] == "m.room.name" for event in irc.events))
    types = [event["type"] for event in irc.events if event["room_id"] == room_id]
    assert types[:2] == ["m.room.member", "m.room.power_levels"]


async def test_a_service_that_was_down_catches_up_in_order(server, irc):
    """Also with what happened while users of its came and went meanwhile."""
    alice = await server.register("alice")
    await ghost(server, irc)
    service, room_id = irc.client(server), await public_room(alice)
    tries = asyncio.Queue()

    async def down(request, told):
        tries.put_nowait((request.path, told))
        return web.json_response({"errcode": "M_UNKNOWN"}, status=500)

    irc.answer = down
    await service.post(f"/v3/join/{room_id}", {}, user_id=GHOST)
    first = await tries.get()
    wanted = [await say(alice, room_id, f"inside {index}") for index in range(150)]
    await service.post(f"/v3/rooms/{room_id}/leave", {}, user_id=GHOST)
    unseen = await say(alice, room_id, "outside")
    await service.post(f"/v3/join/{room_id}", {}, user_id=GHOST)
    wanted.append(await say(alice, room_id, "inside again"))
    irc.answer = None
    assert (await irc.client(server).post("/v1/appservice/irc/ping"))["duration_ms"] >= 0
    await irc.event(wanted[-1])
    messages = [event["event_id"] for event in irc.events if event["type"] == "m.room.message"]
    assert messages == wanted
    assert unseen not in messages
    assert irc.transactions[0] == (first[0].rpartition("/")[2], first[1]), "the same, with the same id"
    assert max(len(told["events"]) for _, told in irc.transactions) == 100


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=500, text="oops"),
        lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}),
        lambda: web.Response(status=200, body=b"x" * 2_000_000),
        lambda: web.Response(status=404, text="nothing here"),
    ],
)
async def test_answers_that_mean_no(server, irc, answer):
    """It is asked again, and nobody else notices; what a good answer says does not matter."""
    alice = await server.register("alice")
    await ghost(server, irc)
    room_id = await public_room(alice)
    refused = asyncio.Event()

    async def refuse(request, told):
        refused.set()
        return answer()

    irc.answer = refuse
    await irc.client(server).post(f"/v3/join/{room_id}", {}, user_id=GHOST)
    await asyncio.wait_for(refused.wait(), 10)
    sent = await say(alice, room_id, "meanwhile")

    async def garbled(request, told):
        return web.Response(text="not JSON")

    irc.answer = garbled
    await irc.event(sent)  # the second try is a second later
    ids = [event["event_id"] for event in irc.events]
    assert len(ids) == len(set(ids))


async def test_old_paths_are_tried_where_the_new_ones_are_unknown(server, irc):
    await ghost(server, irc)

    async def old(request, told):
        known = request.path.startswith("/transactions/")
        return web.json_response({}) if known else web.Response(status=404, text="no such path")

    irc.answer = old
    await irc.client(server).post("/v3/createRoom", {}, user_id=GHOST)
    await irc.until(lambda: irc.transactions)
    assert [path.rpartition("/")[0] for _, path in irc.asked[:2]] == [
        "/_matrix/app/v1/transactions",
        "/transactions",
    ]


async def test_a_stopped_server_goes_on_where_it_was(pg_url, config, irc):
    """What was written down before the stop is pushed under the same id, what came after it follows."""
    refused = asyncio.Event()

    async def refuse(request, told):
        refused.told = told
        refused.set()
        return web.Response(status=503)

    async with running(pg_url, config) as server:
        await ghost(server, irc)
        alice = await server.register("alice")
        room_id = await public_room(alice)
        irc.answer = refuse
        await irc.client(server).post(f"/v3/join/{room_id}", {}, user_id=GHOST)
        await asyncio.wait_for(refused.wait(), 10)
        late = await say(alice, room_id, "late")
    irc.answer = None
    irc.asked.clear()
    async with running(pg_url, config):
        await irc.event(late)
    assert irc.transactions[0] == ("1", refused.told)
    ids = [event["event_id"] for event in irc.events]
    assert len(ids) == len(set(ids))
    async with running(pg_url, config) as server:
        again = await server.login("alice")
        await irc.event(await say(again, room_id, "later still"))
    ids = [event["event_id"] for event in irc.events]
    assert len(ids) == len(set(ids))


async def test_typing_receipts_and_presence(server, irc):
    alice = await server.register("alice")
    await ghost(server, irc)
    room_id, elsewhere = await public_room(alice), await public_room(alice)
    await irc.client(server).post(f"/v3/join/{room_id}", {}, user_id=GHOST)
    event_id = await say(alice, room_id, "hello")
    hidden = await say(alice, elsewhere, "hello")
    for place, read in ((elsewhere, hidden), (room_id, event_id)):
        await alice.put(f"/v3/rooms/{place}/typing/{alice.user_id}", {"typing": True, "timeout": 30_000})
        await alice.post(f"/v3/rooms/{place}/receipt/m.read/{read}")
        await alice.post(f"/v3/rooms/{place}/receipt/m.read.private/{read}")
    await irc.client(server).post(f"/v3/rooms/{room_id}/receipt/m.read.private/{event_id}", {}, user_id=GHOST)
    await alice.put(f"/v3/presence/{alice.user_id}/status", {"presence": "online", "status_msg": "tea"})

    def passing():
        return [event for _, told in irc.transactions for event in told.get("ephemeral", ())]

    def ghost_has_read():
        return any(
            GHOST in kinds.get("m.read.private", {})
            for event in passing()
            if event["type"] == "m.receipt"
            for kinds in event["content"].values()
        )

    await irc.until(ghost_has_read)
    await irc.until(lambda: any(event["content"].get("status_msg") == "tea" for event in passing()))
    assert {event["room_id"] for event in passing() if "room_id" in event} == {room_id}
    typing = [event for event in passing() if event["type"] == "m.typing"]
    assert typing[0] == {
        "type": "m.typing",
        "room_id": room_id,
        "content": {"user_ids": [alice.user_id]},
    }
    reads = [event["content"] for event in passing() if event["type"] == "m.receipt"]
    text = orjson.dumps(reads).decode()
    assert '"m.read":{"@alice:localhost"' in text
    assert '"m.read.private":{"@alice:localhost"' not in text, "private receipts of others stay private"


async def test_devices_of_users_get_their_messages(pg_url, config, irc, tmp_path):
    registration = registration_of("irc", users=["@_irc_.*"], url=irc.url, **{"org.matrix.msc3202": True})
    config = evolve(config, application_services=registered(tmp_path, registration))
    async with running(pg_url, config) as server:
        alice = await server.register("alice")
        await ghost(server, irc)
        service = irc.client(server)
        await service.ask("PUT", "/v3/devices/BRIDGE", {}, user_id=GHOST)
        room_id = await public_room(alice)
        await service.post(f"/v3/join/{room_id}", {}, user_id=GHOST)
        await irc.until(lambda: irc.events)
        for index in range(150):
            messages = {GHOST: {"BRIDGE": {"n": index}}, alice.user_id: {"*": {"n": index}}}
            await alice.put(f"/v3/sendToDevice/m.test/{index}", {"messages": messages})

        def letters():
            return [
                one for _, told in irc.transactions for one in told.get("de.sorunome.msc2409.to_device", ())
            ]

        await irc.until(lambda: len(letters()) == 150)
        assert [one["content"]["n"] for one in letters()] == list(range(150))
        assert letters()[0] == {
            "type": "m.test",
            "sender": alice.user_id,
            "content": {"n": 0},
            "to_user_id": GHOST,
            "to_device_id": "BRIDGE",
        }
        sync = await service.get("/v3/sync", timeout=0, user_id=GHOST, device_id="BRIDGE")
        assert not sync.get("to_device", {}).get("events"), "what it has taken is not told twice"
        assert len((await alice.get("/v3/sync", timeout=0))["to_device"]["events"]) == 100

        def lists():
            return [
                user
                for _, told in irc.transactions
                for user in told.get("org.matrix.msc3202.device_lists", {}).get("changed", ())
            ]

        await server.login("alice")
        await irc.until(lambda: alice.user_id in lists())


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        (lambda: web.json_response({"errcode": "M_FORBIDDEN"}, status=403), (502, "M_BAD_STATUS")),
        (None, (502, "M_CONNECTION_FAILED")),
    ],
)
async def test_pings_that_fail(pg_url, config, irc, tmp_path, answer, refusal):
    if answer is None:
        registration = registration_of("irc", url="http://127.0.0.1:9")
        config = evolve(config, application_services=registered(tmp_path, registration))
    else:

        async def refuse(request, told):
            return answer()

        irc.answer = refuse
    async with running(pg_url, config) as server:
        service = irc.client(server)
        assert await service.refused("POST", "/v1/appservice/irc/ping", {}) == refusal


async def test_who_may_ping(server, irc):
    alice, service = await server.register(), irc.client(server)
    assert await alice.refused("POST", "/v1/appservice/irc/ping", {}) == (403, "M_FORBIDDEN")
    assert await service.refused("POST", "/v1/appservice/other/ping", {}) == (403, "M_FORBIDDEN")
    await service.post("/v1/appservice/irc/ping", {"transaction_id": "meow"})
    assert irc.asked[-1] == ("POST", "/_matrix/app/v1/ping")


async def test_a_service_without_a_url_has_nothing_to_be_pinged(pg_url, config, tmp_path):
    config = evolve(config, application_services=registered(tmp_path, registration_of("irc")))
    async with running(pg_url, config) as server:
        from tests.kit.application_service import Service

        refusal = await Service("irc").client(server).refused("POST", "/v1/appservice/irc/ping", {})
        assert refusal == (400, "M_URL_NOT_SET")
