"""Application services that keep the keys of their users' devices themselves [MSC3983] [MSC3984]."""

import asyncio

import pytest
import yaml
from aiohttp import web
from attrs import define, field

from homeserver.app import config as options
from homeserver.services.application_services import proxied_keys
from tests.kit.application_service import listening, registered, registration_of
from tests.kit.crypto import DeviceCrypto, UserCrypto
from tests.kit.server import plain_config, running

ONE = "signed_curve25519"
ANNA, LISA = "@_irc_anna:localhost", "@_irc_lisa:localhost"
FLAGS = {"org.matrix.msc3983": True, "org.matrix.msc3984": True}
CLAIM, QUERY = (
    "/_matrix/app/unstable/org.matrix.msc3983/keys/claim",
    "/_matrix/app/unstable/org.matrix.msc3984/keys/query",
)


@define(eq=False)
class Keeper:
    """What a service says of keys, and what it was asked."""

    claims: dict = field(factory=dict)
    queries: dict = field(factory=dict)
    asked: list = field(factory=list)
    status: int = 200
    came: asyncio.Event = field(factory=asyncio.Event)  # the first question
    gate: asyncio.Event | None = None  # closed: it is silent

    async def __call__(self, request, told):
        if "/keys/" not in request.path:
            return web.json_response({})
        self.asked.append((request.path, told))
        self.came.set()
        if self.gate is not None:
            await self.gate.wait()
        answer = self.claims if request.path == CLAIM else self.queries
        return web.json_response(answer, status=self.status)


@pytest.fixture
async def irc():
    async with listening("irc") as service:
        service.answer = Keeper()
        yield service


@pytest.fixture
async def server(pg_url, irc, tmp_path):
    one = registration_of("irc", users=["@_irc_"], url=irc.url, **FLAGS)
    shy = registration_of("shy", users=["@_shy_"], url=irc.url)
    shared = registration_of("shared", url=irc.url, **FLAGS)
    shared["namespaces"]["users"] = [{"exclusive": False, "regex": "@_shared_"}]
    section = registered(tmp_path, one, shy, shared, query_seconds=1.0)
    async with running(pg_url, plain_config(tmp_path, application_services=section)) as server:
        yield server


async def ghost(server, irc, device_id="G", **keys):
    """Anna of the service, with a device that has published `keys`."""
    await irc.client(server).post(
        "/v3/register",
        {"type": "m.login.application_service", "username": "_irc_anna", "inhibit_login": True},
    )
    body = {"type": "m.login.application_service", "identifier": {"type": "m.id.user", "user": "_irc_anna"}}
    anna = server.with_token(await irc.client(server).post("/v3/login", {**body, "device_id": device_id}))
    if keys:
        await anna.post("/v3/keys/upload", keys)
    return anna


async def claim(client, *devices, user=ANNA):
    """The answer for devices of a user."""
    body = {"one_time_keys": {user: dict.fromkeys(devices, ONE)}}
    return (await client.post("/v3/keys/claim", body))["one_time_keys"]


async def test_uploaded_keys_then_those_of_the_service_then_the_fallback_key(server, irc):
    keys = DeviceCrypto(ANNA, "G")
    here, there, fallback = (
        keys.one_time_keys(1),
        keys.one_time_keys(1),
        keys.one_time_keys(1, fallback=True),
    )
    await ghost(server, irc, device_keys=keys.device_keys(), one_time_keys=here, fallback_keys=fallback)
    alice = await server.register("alice")
    assert await claim(alice, "G") == {ANNA: {"G": here}}
    assert irc.answer.asked == []
    irc.answer.claims = {ANNA: {"G": there}}
    assert await claim(alice, "G") == {ANNA: {"G": there}}
    assert irc.answer.asked == [(CLAIM, {ANNA: {"G": [ONE]}})]
    assert "Bearer hs_token_of_irc" in irc.tokens
    irc.answer.claims = {}
    assert await claim(alice, "G") == {ANNA: {"G": fallback}}


async def test_devices_that_only_the_service_knows(server, irc):
    alice = await server.register("alice")
    for user in (ANNA, LISA):
        keys = DeviceCrypto(user, "X").one_time_keys(1)
        irc.answer.claims = {user: {"X": keys, "Y": keys}, alice.user_id: {"X": keys}}
        assert await claim(alice, "X", user=user) == {user: {"X": keys}}


@pytest.mark.parametrize(
    "user", ["@_shy_a:localhost", "@_shared_a:localhost", "@nobody:localhost", "@_irc_a:elsewhere.org"]
)
async def test_whom_nobody_is_asked_about(server, irc, user):
    alice = await server.register("alice")
    await alice.post("/v3/keys/claim", {"one_time_keys": {user: {"A": ONE}}})
    await alice.post("/v3/keys/query", {"device_keys": {user: []}})
    assert irc.answer.asked == []


NO_KEYS = [
    [],
    {ANNA: []},
    {ANNA: {"G": []}},
    {ANNA: {"G": {}}},
    {ANNA: {"G": {"curve25519:A": "key"}}},
    {ANNA: {"G": {f"{ONE}:A": 7}}},
    {ANNA: {"G": {f"{ONE}:A": {"key": 1.5}}}},
    {ANNA: {"G": {f"{ONE}:A": {"key": "x" * 70_000}}}},
]


async def test_answers_that_are_no_keys(server, irc):
    keys = DeviceCrypto(ANNA, "G")
    fallback = keys.one_time_keys(1, fallback=True)
    await ghost(server, irc, device_keys=keys.device_keys(), fallback_keys=fallback)
    alice = await server.register("alice")
    for answer in NO_KEYS:
        irc.answer.claims = answer
        assert await claim(alice, "G") == {ANNA: {"G": fallback}}, answer
    for answer in ([], {"device_keys": []}, {"device_keys": {ANNA: 5}, "master_keys": {ANNA: 5}}):
        irc.answer.queries = answer
        found = await alice.post("/v3/keys/query", {"device_keys": {ANNA: []}})
        assert found["device_keys"] == {ANNA: {"G": {**keys.device_keys(), "unsigned": {}}}}, answer


async def test_a_silent_service_costs_little_and_not_for_long(server, irc):
    keys = DeviceCrypto(ANNA, "G")
    fallback = keys.one_time_keys(1, fallback=True)
    await ghost(server, irc, device_keys=keys.device_keys(), fallback_keys=fallback)
    alice, bob = await server.register("alice"), await server.register("bob", device_id="B")
    of_bob = DeviceCrypto(bob.user_id, "B").one_time_keys(1)
    await bob.post("/v3/keys/upload", {"one_time_keys": of_bob})
    irc.answer.gate = asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        slow = group.create_task(claim(alice, "G"))
        await irc.answer.came.wait()
        assert await claim(alice, "B", user=bob.user_id) == {bob.user_id: {"B": of_bob}}
    assert slow.result() == {ANNA: {"G": fallback}}
    assert await claim(alice, "G") == {ANNA: {"G": fallback}}
    assert len(irc.answer.asked) == 1  # it is left alone for a while
    irc.answer.gate.set()


async def test_a_service_that_knows_no_such_question_is_not_asked_again(server, irc):
    irc.answer.status = 404
    alice = await server.register("alice")
    for _ in range(2):
        assert await claim(alice, "G") == {}
        assert (await alice.post("/v3/keys/query", {"device_keys": {ANNA: []}}))["device_keys"] == {ANNA: {}}
    assert [path for path, _ in irc.answer.asked] == [CLAIM, QUERY]


async def test_only_so_many_questions_at_once(server, irc, monkeypatch):
    monkeypatch.setattr(proxied_keys, "MOST", 2)
    irc.answer.gate = asyncio.Event()
    alice = await server.register("alice")
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(claim(alice, "G")) for _ in range(5)]
        waiting = set(asked)
        while len(waiting) > 2:
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        irc.answer.gate.set()
    assert len(irc.answer.asked) == 2


async def test_what_the_service_says_of_devices_goes_before_what_is_here(server, irc):
    old, other, new = DeviceCrypto(ANNA, "G"), DeviceCrypto(ANNA, "H"), DeviceCrypto(ANNA, "G")
    await ghost(server, irc, device_keys=old.device_keys())
    await ghost_device(server, irc, "H", other)
    alice = await server.register("alice")
    told = {**new.device_keys(), "unsigned": {"device_display_name": "Anna's bridge", "more": 1}}
    irc.answer.queries = {"device_keys": {ANNA: {"G": told}}}
    found = await alice.post("/v3/keys/query", {"device_keys": {ANNA: []}})
    assert irc.answer.asked == [(QUERY, {ANNA: []})]
    named = {**new.device_keys(), "unsigned": {"device_display_name": "Anna's bridge"}}
    assert found["device_keys"] == {ANNA: {"G": named, "H": {**other.device_keys(), "unsigned": {}}}}
    found = await alice.post("/v3/keys/query", {"device_keys": {ANNA: ["H"]}})
    assert found["device_keys"] == {ANNA: {"H": {**other.device_keys(), "unsigned": {}}}}


async def ghost_device(server, irc, device_id, crypto):
    body = {"type": "m.login.application_service", "identifier": {"type": "m.id.user", "user": "_irc_anna"}}
    anna = server.with_token(await irc.client(server).post("/v3/login", {**body, "device_id": device_id}))
    await anna.post("/v3/keys/upload", {"device_keys": crypto.device_keys()})


async def test_users_of_whom_only_the_service_knows_keys(server, irc):
    user, device = UserCrypto(LISA), DeviceCrypto(LISA, "L")
    body = user.upload()
    signed = user.signed(device.device_keys(), user.self_signing)
    irc.answer.queries = {
        "device_keys": {LISA: {"L": signed}, ANNA: {"L": signed}, "@alice:localhost": {"L": signed}},
        "master_keys": {LISA: body["master_key"], "@alice:localhost": body["master_key"]},
        "self_signing_keys": {LISA: body["self_signing_key"]},
        "user_signing_keys": {LISA: body["user_signing_key"]},
    }
    alice = await server.register("alice")
    asked = {"device_keys": {LISA: [], ANNA: [], alice.user_id: []}}
    found = await alice.post("/v3/keys/query", asked)
    assert found["device_keys"] == {LISA: {"L": {**signed, "unsigned": {}}}, ANNA: {}, alice.user_id: {}}
    assert found["master_keys"] == {LISA: body["master_key"]}
    assert found["self_signing_keys"] == {LISA: body["self_signing_key"]}
    assert found["user_signing_keys"] == {}


async def test_devices_signed_by_an_identity_that_is_here(server, irc):
    """The service tells devices alone; the signature by the user's key, which was uploaded, stays."""
    anna = await ghost(server, irc)
    user, device = UserCrypto(ANNA), DeviceCrypto(ANNA, "L")
    await anna.post("/v3/keys/device_signing/upload", user.upload())
    signed = user.signed(device.device_keys(), user.self_signing)
    irc.answer.queries = {"device_keys": {ANNA: {"L": signed}}}
    alice = await server.register("alice")
    found = await alice.post("/v3/keys/query", {"device_keys": {ANNA: []}})
    assert found["device_keys"] == {ANNA: {"L": {**signed, "unsigned": {}}}}


async def test_forged_devices_are_left_out(server, irc):
    forged = {**DeviceCrypto(ANNA, "F").device_keys(), "algorithms": ["other"]}
    good = DeviceCrypto(ANNA, "G").device_keys()
    irc.answer.queries = {"device_keys": {ANNA: {"F": forged, "G": good, "X": good}}}
    alice = await server.register("alice")
    found = await alice.post("/v3/keys/query", {"device_keys": {ANNA: []}})
    assert found["device_keys"] == {ANNA: {"G": {**good, "unsigned": {}}}}


async def test_other_servers_are_answered_alike(homings, irc, tmp_path):
    file = tmp_path / "irc.yaml"
    file.write_text(yaml.safe_dump(registration_of("irc", users=["@_irc_"], url=irc.url, **FLAGS)))
    [here] = await homings(1, application_services=options.ApplicationServices(files=[str(file)]))
    [there] = await homings(1)
    user_id = f"@_irc_anna:{here.name}"
    crypto = DeviceCrypto(user_id, "G")
    keys, told = crypto.one_time_keys(1), {**crypto.device_keys(), "unsigned": {"device_display_name": "G"}}
    irc.answer.claims = {user_id: {"G": keys}}
    irc.answer.queries = {"device_keys": {user_id: {"G": told}}}
    bob = await there.register("bob")
    assert await claim(bob, "G", user=user_id) == {user_id: {"G": keys}}
    found = await bob.post("/v3/keys/query", {"device_keys": {user_id: []}})
    assert found["device_keys"] == {user_id: {"G": {**crypto.device_keys(), "unsigned": {}}}}
    assert found["failures"] == {}
