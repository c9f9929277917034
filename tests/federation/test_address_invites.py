"""Inviting people by their addresses, and telling identity servers about users, with an identity server beside us."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define
from signedjson.sign import sign_json

from homeserver.app.config_people import IdentityServers
from tests.kit.federation import Homing, federating_config, running_homing
from tests.kit.identity_server import TOKEN, IdentityServer, running_identity_server
from tests.kit.loopback import Authority, free_name
from tests.kit.server import PASSWORD, Client, segment

STRANGER = "@carol:nowhere.example"


@define(eq=False)
class Scene:
    homing: Homing
    identity: IdentityServer

    def invitation(self, address: str, **more: Any) -> dict[str, Any]:
        server = {"id_server": self.identity.name, "id_access_token": TOKEN}
        return {**server, "medium": "email", "address": address, **more}


@pytest.fixture
async def scene(pg_url: str, tmp_path: Path, authority: Authority) -> AsyncIterator[Scene]:
    name = free_name()
    async with running_identity_server(name, authority.server_context(name)) as identity:
        trusted = IdentityServers(trusted=[name, "127.0.0.1:1"])
        config = federating_config(tmp_path, authority, identity_servers=trusted)
        async with running_homing(pg_url, config) as homing:
            yield Scene(homing, identity)


async def room_of(client: Client, **more: Any) -> str:
    room_id: str = (await client.post("/v3/createRoom", {"preset": "private_chat", **more}))["room_id"]
    return room_id


async def test_whose_address_is_known_is_invited(scene: Scene) -> None:
    alice, bob = await scene.homing.register("alice"), await scene.homing.register("bob")
    scene.identity.known["bob@example.org"] = bob.user_id
    room_id = await room_of(alice)
    await alice.post(f"/v3/rooms/{segment(room_id)}/invite", scene.invitation("Bob@Example.org"))
    assert room_id in (await bob.get("/v3/sync", set_presence="offline"))["rooms"]["invite"]
    assert not scene.identity.kept
    other = await room_of(alice, invite_3pid=[scene.invitation("bob@example.org")])
    assert other in (await bob.get("/v3/sync", set_presence="offline"))["rooms"]["invite"]


async def test_whose_address_is_unknown_is_invited_later(scene: Scene) -> None:
    alice, bob = await scene.homing.register("alice"), await scene.homing.register("bob")
    room_id = await room_of(alice, name="Friends")
    room = f"/v3/rooms/{segment(room_id)}"
    await alice.post(f"{room}/invite", scene.invitation("bob@example.org"))
    [kept] = scene.identity.kept
    assert (kept["address"], kept["room_name"], kept["sender"]) == (
        "bob@example.org",
        "Friends",
        alice.user_id,
    )
    event = await alice.get(f"{room}/state/m.room.third_party_invite/token1")
    assert event["display_name"] == "b...@e..."
    assert event["public_keys"][0]["public_key"] == scene.identity.public_key
    signed = scene.identity.signed(bob.user_id, "token1")
    bound = {"mxid": bob.user_id, "room_id": room_id, "sender": alice.user_id, "signed": signed}
    body = {"medium": "email", "address": "bob@example.org", "mxid": bob.user_id, "invites": [bound]}
    await scene.homing.anonymous().put("/_matrix/federation/v1/3pid/onbind", body)
    assert room_id in (await bob.get("/v3/sync", set_presence="offline"))["rooms"]["invite"]
    member = await alice.get(f"{room}/state/m.room.member/{segment(bob.user_id)}")
    assert member["third_party_invite"]["display_name"] == "b...@e..."
    await bob.post(f"/v3/join/{segment(room_id)}")


async def test_the_invited_bring_the_identity_servers_word(scene: Scene) -> None:
    alice, bob = await scene.homing.register("alice"), await scene.homing.register("bob")
    room_id = await room_of(alice)
    await alice.post(f"/v3/rooms/{segment(room_id)}/invite", scene.invitation("bob@example.org"))
    join, identity = f"/v3/join/{segment(room_id)}", scene.identity
    said = {"mxid": bob.user_id, "sender": alice.user_id, "token": "token1"}

    async def refusal(**changes: Any) -> tuple[int, str | None]:
        signed = sign_json({**said, **changes}, identity.name, identity.key)
        return await bob.refused("POST", join, {"third_party_signed": signed})

    assert await refusal(mxid=alice.user_id) == (400, "M_INVALID_PARAM")
    assert await refusal(sender=None) == (400, "M_INVALID_PARAM")
    assert await refusal(sender=bob.user_id) == (403, "M_FORBIDDEN")
    assert await refusal(token="token2") == (403, "M_FORBIDDEN")
    signed = sign_json(dict(said), identity.name, identity.key)
    forged = {**signed, "extra": 1}
    assert await bob.refused("POST", join, {"third_party_signed": forged}) == (403, "M_FORBIDDEN")
    for _ in range(2):
        assert await bob.post(join, {"third_party_signed": signed}) == {"room_id": room_id}


@pytest.mark.parametrize("fault", [{"revoked": True}, {"answers": {"pubkey/isvalid": (500, {})}}])
async def test_a_key_that_is_good_no_more(scene: Scene, fault: dict[str, Any]) -> None:
    alice, bob = await scene.homing.register("alice"), await scene.homing.register("bob")
    room_id = await room_of(alice)
    await alice.post(f"/v3/rooms/{segment(room_id)}/invite", scene.invitation("bob@example.org"))
    for name, value in fault.items():
        setattr(scene.identity, name, value)
    signed = scene.identity.signed(bob.user_id, "token1")
    bound = {"mxid": bob.user_id, "room_id": room_id, "sender": alice.user_id, "signed": signed}
    path, body = "/_matrix/federation/v1/3pid/onbind", {"mxid": bob.user_id, "invites": [bound]}
    assert await scene.homing.anonymous().refused("POST", path, body) == (403, "M_FORBIDDEN")
    assert "invite" not in (await bob.get("/v3/sync", set_presence="offline")).get("rooms", {})


async def test_who_may_not_invite_writes_to_nobody(scene: Scene) -> None:
    alice, bob = await scene.homing.register("alice"), await scene.homing.register("bob")
    room_id = await room_of(alice)
    path = f"/v3/rooms/{segment(room_id)}/invite"
    asked = scene.invitation("x@example.org")
    assert (await bob.refused("POST", path, asked))[0] == 403
    for change, refusal in (
        ({"id_server": "elsewhere.example"}, (400, "M_SERVER_NOT_TRUSTED")),
        ({"id_server": "no/host"}, (400, "M_INVALID_PARAM")),
        ({"address": "nonsense"}, (400, "M_INVALID_PARAM")),
        ({"id_access_token": "a\r\nb"}, (400, "M_INVALID_PARAM")),
        ({"id_access_token": "wrong"}, (403, "M_UNAUTHORIZED")),
        ({"id_access_token": None}, (400, "M_BAD_JSON")),
        ({"id_server": "127.0.0.1:1"}, (503, "M_UNKNOWN")),  # nobody is there
    ):
        assert await alice.refused("POST", path, {**asked, **change}) == refusal, change
    assert await alice.refused("POST", path, {"medium": "email"}) == (400, "M_MISSING_PARAM")
    assert not scene.identity.kept


@pytest.mark.parametrize(
    ("part", "answer"),
    [
        ("hash_details", (200, {})),
        ("hash_details", (200, [])),
        ("hash_details", (500, {"errcode": "M_UNKNOWN", "error": "x"})),
        ("lookup", (302, {})),
        ("store-invite", (200, {"token": 7})),
        ("store-invite", (200, {"token": "a\0b", "public_keys": []})),
        ("store-invite", (200, {"token": "t", "public_keys": [{"public_key": 1}]})),
    ],
)
async def test_identity_servers_that_talk_nonsense(scene: Scene, part: str, answer: Any) -> None:
    alice = await scene.homing.register("alice")
    room_id = await room_of(alice)
    scene.identity.answers[part] = answer
    path = f"/v3/rooms/{segment(room_id)}/invite"
    assert await alice.refused("POST", path, scene.invitation("x@example.org")) == (503, "M_UNKNOWN")
    assert not [
        event
        for event in await alice.get(f"/v3/rooms/{segment(room_id)}/state")
        if event["type"] == "m.room.third_party_invite"
    ]


async def test_bound_and_taken_back(scene: Scene) -> None:
    alice = await scene.homing.register("alice")
    secrets = {"sid": "1", "client_secret": "x", "id_server": scene.identity.name, "id_access_token": TOKEN}
    await alice.post("/v3/account/3pid/bind", secrets)
    assert scene.identity.bound == [{"sid": "1", "client_secret": "x", "mxid": alice.user_id}]
    named = {"medium": "email", "address": "Alice@example.org"}
    answer = await alice.post("/v3/account/3pid/unbind", named)
    assert answer == {"id_server_unbind_result": "success"}
    threepid = {"medium": "email", "address": "alice@example.org"}
    assert scene.identity.unbound == [(scene.homing.name, {"mxid": alice.user_id, "threepid": threepid})]
    assert await alice.post("/v3/account/3pid/unbind", named) == {"id_server_unbind_result": "no-support"}
    await alice.post("/_matrix/client/unstable/account/3pid/bind", secrets)
    auth = {"type": "m.login.password", "user": "alice", "password": PASSWORD}
    answer = await alice.post("/v3/account/deactivate", {"auth": auth})
    assert answer == {"id_server_unbind_result": "success"}
    assert len(scene.identity.unbound) == 2
