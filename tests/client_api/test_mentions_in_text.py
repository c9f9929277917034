"""Mentions that are found in what messages say, where a server looks for them [cs v1.16 "Predefined Rules"]."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from homeserver.app.config import Push
from homeserver.core.push.rules import IN_TEXT
from tests.client_api.test_push_counts import counts, mention, read
from tests.kit.server import Client, RunningServer, plain_config, running, segment
from tests.kit.sync_calls import join, pair, put, say, sync

RULES = "/v3/pushrules/global"
DISPLAY_NAME = f"{RULES}/override/.m.rule.contains_display_name"
USER_NAME = f"{RULES}/content/.m.rule.contains_user_name"


@pytest.fixture
async def looking(pg_url: str, tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running(pg_url, plain_config(tmp_path, push=Push(mentions_in_text=True))) as server:
        yield server


async def rename(client: Client, name: str) -> None:
    await client.put(f"/v3/profile/{client.user_id}/displayname", {"displayname": name})


async def highlights(client: Client, room_id: str) -> int:
    return (await counts(client, room_id))[1]


async def offered(client: Client) -> set[str]:
    """The rules that sync tells of, which must be those that are read."""
    (event,) = [
        one for one in (await sync(client))["account_data"]["events"] if one["type"] == "m.push_rules"
    ]
    assert event["content"] == await client.get("/v3/pushrules/")
    assert event["content"] == await client.get(f"/v3/user/{client.user_id}/account_data/m.push_rules")
    return {rule["rule_id"] for rules in event["content"]["global"].values() for rule in rules} & IN_TEXT


async def test_who_is_named_is_notified_like_who_is_mentioned(looking: RunningServer) -> None:
    alice, bob, room_id = await pair(looking)
    carol = await looking.register("carol")
    await join(carol, room_id)
    await rename(bob, "Bobby B")
    await say(alice, room_id, "hi bob")
    assert (await counts(bob, room_id), await counts(carol, room_id)) == ((1, 1), (1, 0))
    await say(alice, room_id, "Hi BOBBY B, and Carol!")
    assert (await counts(bob, room_id), await counts(carol, room_id)) == ((2, 2), (2, 1))
    await say(alice, room_id, "bobby and a carolus")
    assert (await counts(bob, room_id), await counts(carol, room_id)) == ((3, 2), (3, 1))
    await say(alice, room_id, "bob carol", **mention(carol))  # it says itself whom it mentions
    assert (await counts(bob, room_id), await counts(carol, room_id)) == ((4, 2), (4, 2))
    told = (await bob.get("/v3/notifications", only="highlight"))["notifications"]
    sound = {"set_tweak": "sound", "value": "default"}
    assert [one["actions"] for one in told] == [["notify", sound, {"set_tweak": "highlight"}]] * 2
    await say(bob, room_id, "I, bob, and carol")
    assert (await counts(bob, room_id), await counts(carol, room_id)) == ((0, 0), (5, 3))


async def test_names_are_those_of_the_room_as_they_are_now(looking: RunningServer) -> None:
    alice, bob, room_id = await pair(looking)
    await say(alice, room_id, "dora")
    await put(bob, room_id, "m.room.member", {"membership": "join", "displayname": "Dora"}, bob.user_id)
    assert await highlights(bob, room_id) == 0
    await say(alice, room_id, "Dora?")
    assert await highlights(bob, room_id) == 1
    await put(bob, room_id, "m.room.member", {"membership": "join", "displayname": "Eve"}, bob.user_id)
    await say(alice, room_id, "dora!")
    assert await highlights(bob, room_id) == 1
    await say(alice, room_id, "eve!")
    assert await highlights(bob, room_id) == 2
    await bob.post(f"/v3/rooms/{segment(room_id)}/leave")
    await say(alice, room_id, "eve, bob")
    await join(bob, room_id)
    assert await counts(bob, room_id) == (0, 0)
    await say(alice, room_id, "bob, again")
    assert await counts(bob, room_id) == (1, 1)


async def test_everybody_is_called_by_who_may(looking: RunningServer) -> None:
    alice, bob, room_id = await pair(looking)
    event_id = await say(alice, room_id, "hello @room")
    assert await highlights(bob, room_id) == 1
    await read(bob, room_id, event_id)
    await say(alice, room_id, "hello @room, all", **mention(bob))
    assert await counts(bob, room_id) == (1, 1)
    await say(bob, room_id, "@room")  # who has not the power to
    assert await counts(alice, room_id) == (1, 0)


async def test_a_muted_room_is_silent_unless_somebody_is_named(looking: RunningServer) -> None:
    alice, bob, room_id = await pair(looking)
    await bob.put(f"{RULES}/room/{segment(room_id)}", {"actions": []})
    await say(alice, room_id, "nothing")
    assert await counts(bob, room_id) == (0, 0)
    await say(alice, room_id, "bob")
    assert await counts(bob, room_id) == (1, 1)


async def test_the_rules_are_offered_and_can_be_changed(looking: RunningServer) -> None:
    alice, bob, room_id = await pair(looking)
    await rename(bob, "Robert")
    assert await offered(bob) == IN_TEXT
    assert (await bob.get(USER_NAME))["pattern"] == "bob"
    await bob.put(f"{USER_NAME}/enabled", {"enabled": False})
    await say(alice, room_id, "bob")
    assert await highlights(bob, room_id) == 0
    await bob.put(f"{DISPLAY_NAME}/actions", {"actions": []})
    await say(alice, room_id, "robert")
    assert await counts(bob, room_id) == (1, 0)
    assert await offered(bob) == IN_TEXT
    assert await bob.refused("DELETE", USER_NAME) == (404, "M_NOT_FOUND")


async def test_who_has_rules_of_before_has_them_as_soon_as_the_server_does(
    pg_url: str, tmp_path: Path
) -> None:
    async with running(pg_url, plain_config(tmp_path)) as server:
        alice, bob, room_id = await pair(server)
        await bob.put(f"{RULES}/content/cake", {"pattern": "cake", "actions": []})
        await say(alice, room_id, "bob")
        assert await counts(bob, room_id) == (1, 0)
        assert await offered(bob) == await offered(alice) == set()
        assert await bob.refused("GET", USER_NAME) == (404, "M_NOT_FOUND")
    async with running(pg_url, plain_config(tmp_path, push=Push(mentions_in_text=True))) as server:
        again = Client(server.url, server.http, bob.user_id, bob.device_id, bob.token)
        assert await offered(again) == IN_TEXT
        other = Client(server.url, server.http, alice.user_id, alice.device_id, alice.token)
        await other.put(f"/v3/rooms/{segment(room_id)}/send/m.room.message/again", {"body": "bob"})
        assert await counts(again, room_id) == (2, 1)
