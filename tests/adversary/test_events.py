"""Events that must not pass: forged, altered, misshapen, unauthorized, out of place."""

import pytest

from tests.kit.server import segment

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

ROOM = {"ban": 50, "events_default": 0, "invite": 0, "kick": 50, "redact": 50, "state_default": 50}


class TestForged:
    async def test_a_signature_of_a_key_that_nobody_has_published(self, victim):
        await victim.refuses(await victim.make(key="other"))

    async def test_no_signature(self, victim):
        made = await victim.make()
        made["pdu"]["signatures"] = {}
        await victim.refuses(made)

    async def test_in_the_name_of_our_user(self, victim):
        await victim.refuses(await victim.make(sender=victim.alice.user_id, sign_as=victim.name))

    async def test_in_the_name_of_our_user_with_their_signature(self, victim):
        await victim.refuses(await victim.make(sender=victim.alice.user_id))

    async def test_altered_after_it_was_signed(self, victim):
        made = await victim.make()
        made["pdu"]["depth"] += 1
        await victim.refuses(made)

    async def test_content_that_is_not_what_was_hashed_is_taken_out(self, victim):
        made = await victim.make()
        made["pdu"]["content"] = {"msgtype": "m.text", "body": "another"}
        await victim.send(made["pdu"])
        event = await victim.alice.sees(victim.room_id, made["event_id"])
        assert event["content"] == {}


MALFORMED = {
    "no object": "evil",
    "a list": [[[]]],
    "null": None,
    "no room": {"type": "m.room.message"},
    "room is no id": {"room_id": 7},
    "room id with a zero": {"room_id": "!a\x00b:c"},
}
SPOILED = {
    "depth is text": {"depth": "1"},
    "depth is negative": {"depth": -1},
    "depth is a fraction": {"depth": 1.5},
    "depth is beyond all integers": {"depth": 2**64},
    "no type": {"type": None},
    "type is a list": {"type": ["m.room.message"]},
    "type is too long": {"type": "m." + 300 * "x"},
    "sender is no user": {"sender": "mallory"},
    "state key is an object": {"state_key": {}},
    "state key with a zero": {"state_key": "a\x00b"},
    "content is a list": {"content": []},
    "content has a fraction": {"content": {"body": 1.5}},
    "content has a huge integer": {"content": {"body": 2**53}},
    "prev_events is an object": {"prev_events": {}},
    "prev_events holds numbers": {"prev_events": [1, 2]},
    "too many prev_events": {"prev_events": [f"${'a' * 42}{chr(65 + number)}" for number in range(21)]},
    "too many auth_events": {"auth_events": [f"${'a' * 42}{chr(65 + number)}" for number in range(11)]},
    "hashes is text": {"hashes": "sha256"},
    "signatures is a list": {"signatures": []},
    "a time that is none": {"origin_server_ts": "now"},
}


class TestMisshapen:
    async def test_what_is_no_event(self, victim):
        """Each spoils nothing beside it."""
        for pdu in MALFORMED.values():
            good = await victim.make()
            await victim.send(pdu, good["pdu"], pdu)
            await victim.alice.sees(victim.room_id, good["event_id"])

    async def test_an_event_with_a_bad_field(self, victim):
        for what, change in SPOILED.items():
            made = await victim.make()
            await victim.send({**made["pdu"], **change}, as_text=True)
            assert await victim.event(made["event_id"]) is None, what
        await victim.accepts()

    async def test_an_oversized_event(self, victim):
        await victim.refuses(await victim.make(content={"body": "x" * 66_000}))

    async def test_deep_nesting(self, victim):
        made = await victim.make()
        deep = "[" * 100_000 + "]" * 100_000
        body = '{"origin":"%s","origin_server_ts":1,"edus":[],"pdus":[{"room_id":"%s","content":%s}]}'
        path = "/_matrix/federation/v1/send/deep"
        raw = body % (victim.adversary.name, victim.room_id, deep)
        await victim.ask("PUT", path, raw=raw)
        await victim.send(made["pdu"])
        await victim.alice.sees(victim.room_id, made["event_id"])


class TestUnauthorized:
    async def test_levels_that_mallory_gives_herself(self, victim):
        levels = {**ROOM, "users": {victim.alice.user_id: 100, victim.mallory: 100}}
        made = await victim.make("m.room.power_levels", levels, state_key="")
        await victim.refuses(made)

    async def test_what_rests_on_rejected_levels(self, victim):
        levels = {**ROOM, "users": {victim.mallory: 100}}
        crown = await victim.make("m.room.power_levels", levels, state_key="")
        await victim.adversary.do("follow", room_id=victim.room_id, event_id=crown["event_id"], as_state=True)
        topic = await victim.make("m.room.topic", {"topic": "mine"}, state_key="")
        await victim.send(crown["pdu"], topic["pdu"])
        await victim.alice.sees(victim.room_id, await victim.alice.say(victim.room_id))
        assert await victim.event(topic["event_id"]) is None

    async def test_a_ban_of_alice(self, victim):
        ban = await victim.make("m.room.member", {"membership": "ban"}, state_key=victim.alice.user_id)
        await victim.refuses(ban)

    async def test_a_second_create_event(self, victim):
        made = await victim.make("m.room.create", {"room_version": "11"}, state_key="", auth=[])
        await victim.refuses(made)

    async def test_without_auth_events(self, victim):
        await victim.refuses(await victim.make(auth=[]))

    async def test_with_auth_events_that_do_not_belong(self, victim):
        state = await victim.alice.state(victim.room_id)
        name = state["m.room.name", ""]
        create, levels = state["m.room.create", ""], state["m.room.power_levels", ""]
        member = state["m.room.member", victim.mallory]
        await victim.refuses(await victim.make(auth=[create, levels, member, name]))
        await victim.refuses(await victim.make(auth=[create, levels, member, member]))

    async def test_with_auth_events_that_nobody_has(self, victim):
        made = await victim.make(auth=["$" + "x" * 43])
        await victim.refuses(made)

    async def test_banned_on_a_fork_from_before(self, victim):
        """After the ban, mallory goes on behind an event from before it."""
        await victim.alice.do("ban", victim.room_id, victim.mallory)
        await victim.remember()
        late = await victim.make("m.room.topic", {"topic": "mine"}, state_key="")
        word = await victim.make()
        await victim.send(late["pdu"], word["pdu"])
        await victim.alice.sees(victim.room_id, await victim.alice.say(victim.room_id))
        assert word["event_id"] not in victim.alice.view(victim.room_id).timeline

    async def test_shut_out_by_the_access_control_list(self, victim):
        host = victim.adversary.name.partition(":")[0]
        acl = {"allow": ["*"], "deny": [host], "allow_ip_literals": True}
        await victim.alice.set_state(victim.room_id, "m.room.server_acl", acl)
        await victim.remember()
        made = await victim.make()
        said = await victim.send(made["pdu"])
        assert said.get(made["event_id"], {}).get("error"), said
        assert await victim.event(made["event_id"]) is None
        another = victim.adversary.user("another")
        path = f"/_matrix/federation/v1/make_join/{segment(victim.room_id)}/{segment(another)}?ver=11"
        assert await victim.ask("GET", path) == (403, "M_FORBIDDEN")
        path = (
            f"/_matrix/federation/v1/state_ids/{segment(victim.room_id)}?event_id={segment(made['event_id'])}"
        )
        assert (await victim.ask("GET", path))[0] == 403


class TestElsewhere:
    async def test_a_room_that_we_are_not_in(self, victim):
        made = await victim.make(change={"room_id": "!nowhere:" + victim.adversary.name})
        await victim.send(made["pdu"])
        path = f"/v3/rooms/{segment('!nowhere:' + victim.adversary.name)}/state"
        assert (await victim.alice.client.refused("GET", path))[0] in (403, 404)

    async def test_auth_events_of_another_room(self, victim):
        other = await victim.alice.create(room_version="11")
        state = await victim.alice.state(other)
        auth = [state["m.room.create", ""], state["m.room.power_levels", ""]]
        await victim.refuses(await victim.make(auth=auth))

    async def test_previous_events_of_another_room(self, victim):
        other = await victim.alice.create(room_version="11")
        said = await victim.alice.say(other)
        await victim.refuses(await victim.make(prev=[said]))
