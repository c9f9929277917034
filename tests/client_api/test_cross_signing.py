"""Cross-signing: keys that only their user replaces, signatures that hold, and who may see them."""

import asyncio
from typing import Any

import pytest
from attrs import frozen

from tests.client_api.test_interactive_auth import challenge, password
from tests.kit.crypto import DeviceCrypto, UserCrypto, cross_key, public
from tests.kit.server import Client, RunningServer

UPLOAD, SIGN = "/v3/keys/device_signing/upload", "/v3/keys/signatures/upload"


@frozen
class Person:
    """A client with all its keys published."""

    client: Client
    device: DeviceCrypto
    user: UserCrypto

    @property
    def user_id(self) -> str:
        return self.client.user_id

    async def sign(self, user_id: str, key_id: str, value: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = await self.client.post(SIGN, {user_id: {key_id: value}})
        failures: dict[str, Any] = answer["failures"]
        return failures

    async def query(self, user_id: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.client.post("/v3/keys/query", {"device_keys": {user_id: []}})
        return found

    async def changed(self, since: str) -> list[str]:
        answer = await self.client.get("/v3/sync", since=since)
        lists: list[str] = answer.get("device_lists", {}).get("changed", [])
        return lists


async def person(server: RunningServer, name: str) -> Person:
    client = await server.register(name, device_id=name.upper())
    found = Person(client, DeviceCrypto(client.user_id, client.device_id), UserCrypto(client.user_id))
    await client.post("/v3/keys/upload", {"device_keys": found.device.device_keys()})
    await client.post(UPLOAD, found.user.upload())
    return found


async def test_keys_are_published(server):
    alice, bob = await person(server, "alice"), await person(server, "bob")
    keys = alice.user.upload()
    own, others = await alice.query(alice.user_id), await bob.query(alice.user_id)
    for found in (own, others):
        assert found["master_keys"] == {alice.user_id: keys["master_key"]}
        assert found["self_signing_keys"] == {alice.user_id: keys["self_signing_key"]}
    assert own["user_signing_keys"] == {alice.user_id: keys["user_signing_key"]}
    assert others["user_signing_keys"] == {}


async def test_replacing_keys_needs_a_proof(server):
    alice = await person(server, "alice")
    await alice.client.post(UPLOAD, alice.user.upload())  # the same again
    fresh = UserCrypto(alice.user_id)
    refused = await challenge(alice.client, "POST", UPLOAD, fresh.upload())
    assert refused["flows"] == [{"stages": ["m.login.password"]}]
    only = {
        "self_signing_key": alice.user.signed(
            alice.user.published("self_signing", cross_key()), alice.user.master
        )
    }
    await challenge(alice.client, "POST", UPLOAD, only)
    mixed = {**alice.user.upload(), **only}
    await challenge(alice.client, "POST", UPLOAD, mixed)
    wrong = {**fresh.upload(), "auth": password("alice", refused["session"], text="wrong")}
    assert (await alice.client.ask("POST", UPLOAD, wrong)).status == 401
    assert (await alice.query(alice.user_id))["master_keys"][alice.user_id] == alice.user.upload()[
        "master_key"
    ]
    await alice.client.post(UPLOAD, {"auth": password("alice", refused["session"])})
    assert (await alice.query(alice.user_id))["master_keys"][alice.user_id] == fresh.upload()["master_key"]


async def test_a_new_master_key_ends_what_the_old_one_signed(server):
    alice = await person(server, "alice")
    fresh = UserCrypto(alice.user_id)
    body = {"master_key": fresh.upload()["master_key"]}
    session = (await challenge(alice.client, "POST", UPLOAD, body))["session"]
    await alice.client.post(UPLOAD, {**body, "auth": password("alice", session)})
    found = await alice.query(alice.user_id)
    assert found["master_keys"] == {alice.user_id: body["master_key"]}
    assert found["self_signing_keys"] == found["user_signing_keys"] == {}


def bad_uploads(user: UserCrypto, other: UserCrypto) -> list[tuple[Any, tuple[int, str]]]:
    good = user.upload()
    unsigned = user.published("self_signing", user.self_signing)
    return [
        ({}, (400, "M_MISSING_PARAM")),
        ({"self_signing_key": good["self_signing_key"]}, (400, "M_MISSING_PARAM")),
        ({**good, "self_signing_key": unsigned}, (400, "M_INVALID_SIGNATURE")),
        ({**good, "user_signing_key": user.signed(unsigned, other.master)}, (400, "M_INVALID_PARAM")),
        ({**good, "self_signing_key": user.signed(unsigned, other.master)}, (400, "M_INVALID_SIGNATURE")),
        ({"master_key": user.published("self_signing", user.master)}, (400, "M_INVALID_PARAM")),
        (
            {"master_key": other.upload()["master_key"] | {"user_id": "@other:localhost"}},
            (400, "M_INVALID_PARAM"),
        ),
        ({"master_key": {**good["master_key"], "keys": {"ed25519:x": "x"}}}, (400, "M_INVALID_PARAM")),
        (
            {"master_key": {**good["master_key"], "keys": {"ed25519:x": public(user.master)}}},
            (400, "M_INVALID_PARAM"),
        ),
        ({"master_key": {**good["master_key"], "keys": {}}}, (400, "M_INVALID_PARAM")),
        ({"master_key": []}, (400, "M_BAD_JSON")),
        ({"master_key": {**good["master_key"], "x": 1.5}}, (400, "M_BAD_JSON")),
        (
            {
                **good,
                "self_signing_key": user.signed(user.published("self_signing", user.master), user.master),
            },
            (400, "M_INVALID_PARAM"),
        ),
    ]


async def test_forged_and_malformed_keys_are_refused(server):
    client = await server.register("alice")
    for body, refusal in bad_uploads(UserCrypto(client.user_id), UserCrypto(client.user_id)):
        assert await client.refused("POST", UPLOAD, body) == refusal, body
    async with server.database.read() as conn:
        assert await conn.fetchval("SELECT count(*) FROM cross_signing_keys") == 0


async def test_a_device_cannot_be_called_like_a_key(server):
    user = UserCrypto("@alice:localhost")
    client = await server.register("alice", device_id=public(user.master))
    assert await client.refused("POST", UPLOAD, user.upload()) == (403, "M_FORBIDDEN")
    other = await server.login("alice", device_id="B")
    late = UserCrypto(other.user_id)
    await other.post(UPLOAD, late.upload())
    named = await server.login("alice", device_id=public(late.self_signing))
    device = DeviceCrypto(named.user_id, named.device_id)
    refusal = await named.refused("POST", "/v3/keys/upload", {"device_keys": device.device_keys()})
    assert refusal == (403, "M_FORBIDDEN")


async def test_signatures_of_ones_own_keys_are_seen_by_all(server):
    alice, bob = await person(server, "alice"), await person(server, "bob")
    device = alice.user.signed(alice.device.device_keys(), alice.user.self_signing)
    master = alice.device.signed(alice.user.upload()["master_key"])
    assert await alice.sign(alice.user_id, "ALICE", device) == {}
    assert await alice.sign(alice.user_id, public(alice.user.master), master) == {}
    for who in (alice, bob):
        found = await who.query(alice.user_id)
        assert found["device_keys"][alice.user_id]["ALICE"] == {**device, "unsigned": {}}
        assert found["master_keys"][alice.user_id] == master
    # What is published again keeps what was signed.
    await alice.client.post("/v3/keys/upload", {"device_keys": alice.device.device_keys()})
    await alice.client.post(UPLOAD, alice.user.upload())
    again = await bob.query(alice.user_id)
    assert again["device_keys"][alice.user_id]["ALICE"] == {**device, "unsigned": {}}
    assert again["master_keys"][alice.user_id] == master


async def test_what_a_new_client_sends_at_the_same_time_is_taken(server):
    """Its sync publishes the device's keys while it sets up cross-signing, which signs and publishes them again."""
    for number in range(5):
        alice = await person(server, f"alice{number}")
        name = alice.client.device_id
        plain = {**alice.device.device_keys(), "unsigned": {}}
        first = alice.device.device_keys(algorithms=["new"])
        signed = alice.user.signed(first, alice.user.self_signing)
        master = alice.user.upload()["master_key"]
        await alice.client.post("/v3/keys/upload", {"device_keys": first})
        by_device = {alice.user_id: {public(alice.user.master): alice.device.signed(master)}}
        by_user = {alice.user_id: {name: signed}}
        answers = await asyncio.gather(
            alice.client.post("/v3/keys/upload", {"device_keys": first}),
            alice.client.post("/v3/keys/upload", {"device_keys": signed}),
            alice.client.post(SIGN, by_user),
            alice.client.post(SIGN, by_device),
            alice.client.post("/v3/keys/upload", {"device_keys": first}),
        )
        assert [answer.get("failures", {}) for answer in answers] == [{}] * 5
        found = await alice.query(alice.user_id)
        assert found["device_keys"][alice.user_id][name] == {**signed, "unsigned": {}} != plain
        assert found["master_keys"][alice.user_id] == alice.device.signed(master)


async def test_only_the_signer_sees_signatures_of_others_keys(server):
    alice, bob = await person(server, "alice"), await person(server, "bob")
    tablet = await server.login("alice", device_id="T")
    since = (await tablet.get("/v3/sync"))["next_batch"]
    quiet = (await bob.client.get("/v3/sync"))["next_batch"]
    signed = alice.user.signed(bob.user.upload()["master_key"], alice.user.user_signing)
    assert await alice.sign(bob.user_id, public(bob.user.master), signed) == {}
    assert (await alice.query(bob.user_id))["master_keys"][bob.user_id] == signed
    assert (await bob.query(bob.user_id))["master_keys"][bob.user_id] == bob.user.upload()["master_key"]
    answer = await tablet.get("/v3/sync", since=since)
    assert answer["device_lists"] == {"changed": [bob.user_id]}
    assert await bob.changed(quiet) == []
    fresh = UserCrypto(bob.user_id)  # what was signed is not this one
    session = (await challenge(bob.client, "POST", UPLOAD, fresh.upload()))["session"]
    await bob.client.post(UPLOAD, {**fresh.upload(), "auth": password("bob", session)})
    assert (await alice.query(bob.user_id))["master_keys"][bob.user_id] == fresh.upload()["master_key"]


@pytest.mark.parametrize("forgery", ["key", "content", "unknown", "signer", "none"])
async def test_signatures_that_do_not_hold_are_told(server, forgery):
    alice, bob = await person(server, "alice"), await person(server, "bob")
    device, name, errcode = alice.device.device_keys(), "ALICE", "M_INVALID_SIGNATURE"
    if forgery == "key":
        value = alice.user.signed(device, bob.user.self_signing)
        value["signatures"][alice.user_id][f"ed25519:{public(alice.user.self_signing)}"] = value[
            "signatures"
        ][alice.user_id].pop(f"ed25519:{public(bob.user.self_signing)}")
    elif forgery == "content":
        value, errcode = alice.user.signed({**device, "x": 1}, alice.user.self_signing), "M_INVALID_PARAM"
    elif forgery == "unknown":
        value, name, errcode = alice.user.signed(device, alice.user.self_signing), "NONE", "M_NOT_FOUND"
    elif forgery == "signer":
        value = alice.user.signed(device, alice.user.user_signing)
    else:
        value, name = alice.user.upload()["master_key"], public(alice.user.master)
    failures = await alice.sign(alice.user_id, name, value)
    assert failures[alice.user_id][name]["errcode"] == errcode
    assert (await bob.query(alice.user_id))["device_keys"][alice.user_id]["ALICE"] == {
        **device,
        "unsigned": {},
    }
    key = public(bob.user.master)
    foreign = alice.user.signed(bob.user.upload()["master_key"], alice.user.self_signing)
    assert (await alice.sign(bob.user_id, key, foreign))[bob.user_id][key]["errcode"] == "M_INVALID_SIGNATURE"
    assert (await alice.sign(bob.user_id, "other", foreign))[bob.user_id]["other"]["errcode"] == "M_NOT_FOUND"


async def test_who_shares_a_room_hears_of_changes_and_nobody_else(server):
    alice, bob, eve = [await person(server, name) for name in ("alice", "bob", "eve")]
    room_id = (await alice.client.post("/v3/createRoom", {"preset": "public_chat"}))["room_id"]
    await bob.client.post(f"/v3/join/{room_id}")
    since = {who.user_id: (await who.client.get("/v3/sync"))["next_batch"] for who in (bob, eve)}
    device = alice.user.signed(alice.device.device_keys(), alice.user.self_signing)
    await alice.sign(alice.user_id, "ALICE", device)
    assert await bob.changed(since[bob.user_id]) == [alice.user_id]
    assert await eve.changed(since[eve.user_id]) == []
    changes = await bob.client.get("/v3/keys/changes", **{"from": since[bob.user_id], "to": "s999999"})
    assert changes == {"changed": [alice.user_id], "left": []}
    none = await eve.client.get("/v3/keys/changes", **{"from": since[eve.user_id], "to": "s999999"})
    assert none == {"changed": [], "left": []}


async def test_the_user_signing_key_is_its_users_affair(server):
    alice, bob = await server.register("alice", device_id="A"), await person(server, "bob")
    room_id = (await alice.post("/v3/createRoom", {"preset": "public_chat"}))["room_id"]
    await bob.client.post(f"/v3/join/{room_id}")
    keys = UserCrypto(alice.user_id).upload()
    verifying = keys.pop("user_signing_key")
    await alice.post(UPLOAD, keys)
    since = (await bob.client.get("/v3/sync"))["next_batch"]
    own_since = (await alice.get("/v3/sync"))["next_batch"]
    asked = await challenge(alice, "POST", UPLOAD, {"user_signing_key": verifying})
    await alice.post(UPLOAD, {"auth": password("alice", asked["session"])})
    assert await bob.changed(since) == []
    own = await alice.get("/v3/sync", since=own_since)
    assert own["device_lists"]["changed"] == [alice.user_id]
