"""Policy servers: a simulated one in rooms of ours, asked for our events and held against those of others."""

import pytest
from attrs import define, field, frozen
from signedjson.key import generate_signing_key, get_verify_key

from homeserver.core.hashing import unpadded
from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.core.signing import sign_event
from tests.kit.peer_calls import Refuse
from tests.kit.server import segment

SIGN = "/_matrix/policy/v1/sign"
KEY = "ed25519:policy_server"


@define(eq=False)
class Policy:
    """What the policy server does; None as answer: it signs."""

    name: str
    key: object = field(factory=lambda: generate_signing_key("policy_server"))
    refusal: object = None
    asked: list = field(factory=list)

    @property
    def content(self):
        return {"via": self.name, "public_keys": {"ed25519": unpadded(get_verify_key(self.key).encode())}}

    def signed(self, pdu, version="12"):
        return sign_event(pdu, self.name, self.key, ROOM_VERSIONS[version])

    async def answer(self, call):
        self.asked.append(call.body)
        if isinstance(self.refusal, Refuse):
            raise self.refusal
        if self.refusal is not None:
            return self.refusal
        return {self.name: {KEY: self.signed(call.body)["signatures"][self.name][KEY]}}


@frozen
class Scene:
    """A room of ours with a user of the policy server in it."""

    homing: object
    peer: object
    alice: object
    room: object
    policy: Policy

    def path(self, rest):
        return f"/v3/rooms/{segment(self.room.room_id)}/{rest}"

    async def enable(self):
        await self.alice.put(self.path("state/m.room.policy/"), self.policy.content)

    async def say(self, text="hello"):
        return (await self.alice.put(self.path(f"send/m.room.message/{text}"), {"body": text}))["event_id"]

    async def refused(self, text="spam"):
        return await self.alice.ask("PUT", self.path(f"send/m.room.message/{text}"), {"body": text})

    async def until_text(self, text):
        """Wait until a client of ours sees a message."""
        since, seen = None, set()
        while text not in seen:
            said = await self.alice.get("/v3/sync", since=since, timeout=10_000)
            since = said["next_batch"]
            joined = said.get("rooms", {}).get("join", {}).get(self.room.room_id, {})
            events = joined.get("timeline", {}).get("events", [])
            seen |= {event["content"].get("body") for event in events}

    async def texts(self):
        found = await self.alice.get(self.path("messages"), dir="b", limit=50)
        return {event["content"].get("body") for event in found["chunk"]}


@pytest.fixture
async def scene(homing, peer):
    alice = await homing.register()
    made = await alice.post("/v3/createRoom", {"preset": "public_chat", "room_version": "12"})
    room = await peer.join(homing.name, made["room_id"], peer.alice)
    policy = Policy(peer.name)
    peer.on("POST", SIGN, policy.answer)
    return Scene(homing, peer, alice, room, policy)


async def test_our_events_carry_its_signature(scene):
    await scene.say("before")
    await scene.enable()
    assert scene.policy.asked == []  # neither before nor for the policy itself
    event_id = await scene.say()
    await scene.alice.put(scene.path("state/m.room.topic/"), {"topic": "t"})
    assert [pdu["type"] for pdu in scene.policy.asked] == ["m.room.message", "m.room.topic"]
    sent = await scene.peer.heard(event_id)
    assert KEY in sent.pdu["signatures"][scene.peer.name]
    assert scene.homing.name in sent.pdu["signatures"]
    assert await scene.texts() >= {"before", "hello"}


@pytest.mark.parametrize(
    ("refusal", "status", "errcode"),
    [
        (Refuse(400, "M_FORBIDDEN"), 400, "M_FORBIDDEN"),  # verbatim
        (Refuse(403, "M_FORBIDDEN"), 403, "M_FORBIDDEN"),
        (Refuse(429, "M_LIMIT_EXCEEDED"), 429, "M_LIMIT_EXCEEDED"),
        (Refuse(401, "M_UNKNOWN_TOKEN"), 403, "M_FORBIDDEN"),  # or clients would log out
        (Refuse(400, "M_UNKNOWN_TOKEN"), 403, "M_FORBIDDEN"),
        (Refuse(404, "M_UNRECOGNIZED"), 403, "M_FORBIDDEN"),
        ({}, 403, "M_FORBIDDEN"),
        ({"x": 7}, 403, "M_FORBIDDEN"),
        (b"[]", 502, "M_UNKNOWN"),
    ],
)
async def test_refusals(scene, refusal, status, errcode):
    await scene.enable()
    scene.policy.refusal = refusal
    answer = await scene.refused()
    assert (answer.status, answer.errcode) == (status, errcode)
    assert "spam" not in await scene.texts()


async def test_a_refusal_leaves_the_room_as_it_was(scene):
    await scene.enable()
    scene.policy.refusal = Refuse(400, "M_FORBIDDEN")
    await scene.refused()
    scene.policy.refusal = None
    await scene.say("after")
    assert "after" in await scene.texts()


async def test_a_signature_by_another_key_counts_for_nothing(scene):
    await scene.enable()
    scene.policy.key = generate_signing_key("policy_server")
    assert (await scene.refused()).status == 403
    await scene.enable()  # the room changes its policy to the new key
    await scene.say()


async def test_a_room_whose_policy_server_has_left_uses_none(scene):
    await scene.enable()
    await scene.peer.leave(scene.homing.name, scene.room, scene.peer.alice)
    scene.policy.asked.clear()
    await scene.say()
    assert scene.policy.asked == []


async def test_a_policy_server_that_is_gone(scene):
    await scene.enable()
    await scene.peer.stop()
    answer = await scene.refused()
    assert (answer.status, answer.errcode) == (502, "M_UNKNOWN")


async def test_events_of_others(scene, peers):
    await scene.enable()
    other = await peers()
    room = await other.join(scene.homing.name, scene.room.room_id, other.alice)
    # It does not ask the policy server, so we do.
    scene.policy.asked.clear()
    await other.say(scene.homing.name, room, other.alice, "fine")
    await scene.until_text("fine")
    assert len(scene.policy.asked) == 1
    # What carries the signature is shown to nobody.
    event = room.draft(other.alice, "m.room.message", {"body": "signed"})
    event = room.append(room.finished(scene.policy.signed(event.pdu)))
    await other.send(scene.homing.name, [event])
    await scene.until_text("signed")
    assert len(scene.policy.asked) == 1
    # What it refuses is soft-failed; events on top of it are not.
    scene.policy.refusal = Refuse(400, "M_FORBIDDEN")
    await other.say(scene.homing.name, room, other.alice, "spam")
    await scene.peer.until(lambda: len(scene.policy.asked) == 2)
    scene.policy.refusal = None
    await other.say(scene.homing.name, room, other.alice, "last")
    await scene.until_text("last")
    assert "spam" not in await scene.texts()


async def test_we_are_no_policy_server(homing, peer):
    room = peer.found(ROOM_VERSIONS["12"])
    event = room.message(peer.alice, "hello")
    answer = await peer.request("POST", homing.name, "/_matrix/policy/v1/sign", event.pdu)
    assert (answer.status, answer.json["errcode"]) == (404, "M_NOT_FOUND")
