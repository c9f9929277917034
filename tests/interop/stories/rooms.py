"""Stories of rooms that two servers share: entering, speaking, changing, leaving."""

import pytest

from homeserver.core.room_versions import ROOM_VERSIONS
from tests.interop.follower import agree, agree_on
from tests.interop.sites import Pair
from tests.kit.server import segment

VERSIONS = pytest.mark.parametrize("version", ROOM_VERSIONS)


class RoomStories:
    """The room is made on `pair.here`; `pair.there` comes to it."""

    @VERSIONS
    async def test_both_speak(self, pair: Pair, version):
        alice, bob = await pair.here.user("alice"), await pair.there.user("bob")
        room_id = await alice.create(room_version=version, name="Both")
        await bob.join(room_id, via=alice.server)
        await alice.sees_member(room_id, bob.user_id, "join")
        await bob.sees(room_id, await alice.say(room_id, "hello"))
        await alice.sees(room_id, await bob.say(room_id, "hello yourself"))
        await bob.sees(room_id, await alice.say(room_id, "and again"))
        await agree_on(alice, bob, room_id)

    async def test_all_of_a_conversation(self, pair: Pair):
        alice, bob = await pair.here.user("alice"), await pair.there.user("bob")
        room_id = await alice.create()
        await bob.join(room_id, via=alice.server)
        for number in range(30):
            await (alice if number % 3 else bob).say(room_id, f"number {number}")
        await alice.sees(room_id, await bob.say(room_id, "the end"))
        await agree_on(alice, bob, room_id)
        assert len(await bob.messages(room_id)) == 31

    async def test_invited_and_in(self, pair: Pair):
        alice, bob = await pair.here.user("alice"), await pair.there.user("bob")
        room_id = await alice.create(preset="private_chat", name="Private")
        await alice.do("invite", room_id, bob.user_id)
        stripped = await bob.until(lambda: bob.invited.get(room_id), "the invite")
        shown = {event["type"]: event["content"] for event in stripped if event.get("state_key") == ""}
        assert shown["m.room.name"] == {"name": "Private"}
        await bob.join(room_id)
        await alice.sees_member(room_id, bob.user_id, "join")
        await alice.sees(room_id, await bob.say(room_id))
        await agree_on(alice, bob, room_id)

    async def test_invited_when_the_room_is_made(self, pair: Pair):
        alice, bob = await pair.here.user("alice"), await pair.there.user("bob")
        room_id = await alice.create(preset="trusted_private_chat", invite=[bob.user_id], is_direct=True)
        stripped = await bob.until(lambda: bob.invited.get(room_id), "the invite")
        mine = next(event for event in stripped if event.get("state_key") == bob.user_id)
        assert mine["content"]["is_direct"] is True
        await bob.join(room_id)
        await bob.sees(room_id, await alice.say(room_id))

    async def test_an_invite_declined(self, pair: Pair):
        alice, bob = await pair.here.user("alice"), await pair.there.user("bob")
        room_id = await alice.create(preset="private_chat")
        await alice.do("invite", room_id, bob.user_id)
        await bob.until(lambda: room_id in bob.invited, "the invite")
        await bob.do("leave", room_id)
        await alice.sees_member(room_id, bob.user_id, "leave")
        await bob.until(lambda: room_id not in bob.invited, "its end")

    async def test_an_invite_withdrawn(self, pair: Pair):
        alice, bob = await pair.here.user("alice"), await pair.there.user("bob")
        room_id = await alice.create(preset="private_chat")
        await alice.do("invite", room_id, bob.user_id)
        await bob.until(lambda: room_id in bob.invited, "the invite")
        await alice.do("kick", room_id, bob.user_id)
        await bob.until(lambda: room_id not in bob.invited, "its end")
        assert (await bob.client.ask("POST", f"/v3/join/{segment(room_id)}", {})).status in (403, 404)

    async def test_kicked_banned_pardoned(self, pair: Pair):
        alice, bob = await pair.here.user("alice"), await pair.there.user("bob")
        room_id = await alice.create()
        await bob.join(room_id, via=alice.server)
        await alice.do("kick", room_id, bob.user_id, reason="out")
        await bob.until(lambda: room_id in bob.left, "the kick")
        await bob.join(room_id, via=alice.server)
        await bob.until(lambda: room_id in bob.rooms, "its own join")
        await alice.do("ban", room_id, bob.user_id)
        await bob.until(lambda: room_id in bob.left, "the ban")
        path = f"/v3/join/{segment(room_id)}"
        assert (await bob.client.refused("POST", path, {}, via=alice.server))[0] == 403
        await alice.do("unban", room_id, bob.user_id)
        await bob.join(room_id, via=alice.server)
        await alice.sees(room_id, await bob.say(room_id, "back"))
        await agree_on(alice, bob, room_id)

    async def test_power_moves(self, pair: Pair):
        alice, bob = await pair.here.user("alice"), await pair.there.user("bob")
        room_id = await alice.create()
        await bob.join(room_id, via=alice.server)
        path = f"/v3/rooms/{segment(room_id)}/state/m.room.topic/"
        assert await bob.client.refused("PUT", path, {"topic": "no"}) == (403, "M_FORBIDDEN")
        levels = await alice.client.get(f"/v3/rooms/{segment(room_id)}/state/m.room.power_levels/")
        levels.setdefault("users", {})[bob.user_id] = 50
        event_id = await alice.set_state(room_id, "m.room.power_levels", levels)
        await bob.sees(room_id, event_id)
        await bob.set_state(room_id, "m.room.topic", {"topic": "from there"})
        await alice.until(lambda: alice.view(room_id).content("m.room.topic").get("topic") == "from there")
        await agree_on(alice, bob, room_id)

    @pytest.mark.parametrize("version", ["2", "10", "11", "12"])
    async def test_redactions_both_ways(self, pair: Pair, version):
        alice, bob = await pair.here.user("alice"), await pair.there.user("bob")
        room_id = await alice.create(room_version=version)
        await bob.join(room_id, via=alice.server)
        mine, yours = await alice.say(room_id, "mine"), await bob.say(room_id, "yours")
        await alice.sees(room_id, yours)
        await bob.sees(room_id, mine)
        for event_id, user in ((yours, bob), (mine, alice)):
            path = f"/v3/rooms/{segment(room_id)}/redact/{segment(event_id)}/r{event_id[1:9]}"
            redaction = (await user.client.put(path, {"reason": "wrong"}))["event_id"]
            await (alice if user is bob else bob).sees(room_id, redaction)
        for user in (alice, bob):
            for event_id in (mine, yours):
                event = await user.client.get(f"/v3/rooms/{segment(room_id)}/event/{segment(event_id)}")
                assert event["content"] == {}, f"{user.user_id} still reads {event}"

    async def test_left_and_back(self, pair: Pair):
        alice, bob = await pair.here.user("alice"), await pair.there.user("bob")
        room_id = await alice.create()
        await bob.join(room_id, via=alice.server)
        await alice.sees_member(room_id, bob.user_id, "join")
        await bob.do("leave", room_id)
        await alice.sees_member(room_id, bob.user_id, "leave")
        for number in range(5):
            await alice.say(room_id, f"without you {number}")
        await alice.set_state(room_id, "m.room.topic", {"topic": "changed meanwhile"})
        await bob.join(room_id, via=alice.server)
        await alice.sees_member(room_id, bob.user_id, "join")
        await alice.sees(room_id, await bob.say(room_id, "what did I miss?"))
        await agree_on(alice, bob, room_id)

    async def test_history_from_before(self, pair: Pair):
        alice, bob = await pair.here.user("alice"), await pair.there.user("bob")
        room_id = await alice.create()
        said = [await alice.say(room_id, f"before you {number}") for number in range(150)]
        await bob.join(room_id, via=alice.server)
        seen = await agree(alice, bob, lambda user: user.messages(room_id))
        assert list(seen) == said[::-1]

    async def test_history_that_is_not_for_them(self, pair: Pair):
        alice, bob = await pair.here.user("alice"), await pair.there.user("bob")
        hidden = {"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}
        room_id = await alice.create(initial_state=[hidden])
        await alice.say(room_id, "secret")
        await bob.join(room_id, via=alice.server)
        heard = await alice.say(room_id, "public")
        await bob.sees(room_id, heard)
        assert list(await bob.messages(room_id)) == [heard]

    async def test_an_alias(self, pair: Pair):
        alice, bob = await pair.here.user("alice"), await pair.there.user("bob")
        name = f"lobby{alice.user_id[1:8]}".replace(":", "")
        room_id = await alice.create(room_alias_name=name)
        alias = f"#{name}:{alice.server}"
        said = await bob.client.get(f"/v3/directory/room/{segment(alias)}")
        assert said["room_id"] == room_id
        assert alice.server in said["servers"]
        assert await bob.join(alias) == room_id
        unknown = f"/v3/directory/room/{segment('#nothing:' + alice.server)}"
        assert await bob.client.refused("GET", unknown) == (404, "M_NOT_FOUND")

    async def test_public_rooms(self, pair: Pair):
        alice, bob = await pair.here.user("alice"), await pair.there.user("bob")
        room_id = await alice.create(name="Marketplace", topic="All are welcome", visibility="public")
        said = await bob.client.post("/v3/publicRooms", {"limit": 100}, server=alice.server)
        room = next(room for room in said["chunk"] if room["room_id"] == room_id)
        assert (room["name"], room["topic"], room["num_joined_members"]) == (
            "Marketplace",
            "All are welcome",
            1,
        )

    async def test_a_knock(self, pair: Pair):
        alice, bob = await pair.here.user("alice"), await pair.there.user("bob")
        closed = {"type": "m.room.join_rules", "content": {"join_rule": "knock"}}
        room_id = await alice.create(initial_state=[closed])
        path = f"/v3/knock/{segment(room_id)}"
        await bob.client.do("POST", path, {"reason": "please"}, server_name=alice.server, via=alice.server)
        await alice.sees_member(room_id, bob.user_id, "knock")
        await bob.until(lambda: room_id in bob.knocked, "the knock")
        await alice.do("invite", room_id, bob.user_id)
        await bob.until(lambda: room_id in bob.invited, "the invite")
        await bob.join(room_id)
        await alice.sees(room_id, await bob.say(room_id))

    @pytest.mark.parametrize("version", ["8", "10", "12"])
    async def test_a_restricted_room(self, pair: Pair, version):
        alice, bob = await pair.here.user("alice"), await pair.there.user("bob")
        club = await alice.create()
        rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": club}]}
        closed = {"type": "m.room.join_rules", "content": rule}
        room_id = await alice.create(room_version=version, initial_state=[closed])
        path = f"/v3/join/{segment(room_id)}"
        assert (await bob.client.refused("POST", path, {}, server_name=alice.server, via=alice.server))[
            0
        ] == 403
        await bob.join(club, via=alice.server)
        await alice.sees_member(club, bob.user_id, "join")
        await bob.join(room_id, via=alice.server)
        await alice.sees_member(room_id, bob.user_id, "join")
        await alice.sees(room_id, await bob.say(room_id))
        await agree_on(alice, bob, room_id)

    async def test_a_second_user_enters_at_home(self, pair: Pair):
        alice, bob = await pair.here.user("alice"), await pair.there.user("bob")
        room_id = await alice.create()
        await bob.join(room_id, via=alice.server)
        carol = await pair.there.user("carol")
        await carol.join(room_id)
        await alice.sees_member(room_id, carol.user_id, "join")
        await carol.sees(room_id, await alice.say(room_id))

    async def test_a_room_upgraded(self, pair: Pair):
        alice, bob = await pair.here.user("alice"), await pair.there.user("bob")
        room_id = await alice.create(room_version="9")
        await bob.join(room_id, via=alice.server)
        await alice.sees_member(room_id, bob.user_id, "join")
        said = await alice.client.post(f"/v3/rooms/{segment(room_id)}/upgrade", {"new_version": "12"})
        new = said["replacement_room"]
        await bob.until(lambda: bob.view(room_id).content("m.room.tombstone").get("replacement_room") == new)
        await bob.join(new, via=alice.server)
        await alice.sees(new, await bob.say(new))

    async def test_a_space_seen_from_there(self, pair: Pair):
        alice, bob = await pair.here.user("alice"), await pair.there.user("bob")
        child = await alice.create(name="Child")
        space = await alice.create(name="Space", creation_content={"type": "m.space"})
        await alice.set_state(space, "m.space.child", {"via": [alice.server]}, child)
        await bob.join(space, via=alice.server)
        said = await bob.client.get(f"/v1/rooms/{segment(space)}/hierarchy")
        assert [room.get("name") for room in said["rooms"]] == ["Space", "Child"]

    async def test_an_event_by_its_time(self, pair: Pair):
        alice, bob = await pair.here.user("alice"), await pair.there.user("bob")
        room_id = await alice.create()
        old = await alice.say(room_id, "old")
        event = await alice.sees(room_id, old)
        for number in range(5):
            await alice.say(room_id, f"newer {number}")
        await bob.join(room_id, via=alice.server)
        path = f"/v1/rooms/{segment(room_id)}/timestamp_to_event"
        said = await bob.client.get(path, ts=event["origin_server_ts"], dir="b")
        assert said["event_id"] == old
