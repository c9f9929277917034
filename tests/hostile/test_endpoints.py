"""Any request to any endpoint of ours: never a 5xx, never silence, never a half-written room.

HOMING_HOSTILE_EXAMPLES is the number of requests to each endpoint. Without it, few, and always the same ones.
"""

import asyncio
import os
import random
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from attrs import define
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from homeserver.web.endpoint import Endpoint
from tests.hostile.requests import HostileRequest, Known, requests
from tests.kit.invariants import broken
from tests.kit.server import Answer, Client, RunningServer, plain_config, running, segment
from tests.services.media.images import image

GIVEN = os.environ.get("HOMING_HOSTILE_EXAMPLES")
EXAMPLES = int(GIVEN or 20)
PATIENCE = 10  # seconds for any answer


@define(eq=False)
class Siege:
    """A server with people and rooms in it, under attack."""

    server: RunningServer
    runner: asyncio.Runner
    people: list[Client]
    known: Known

    def ask(self, request: HostileRequest) -> Answer:
        return self.runner.run(self._ask(request))

    async def _ask(self, request: HostileRequest) -> Answer:
        headers = {}
        if request.who is not None:
            headers["Authorization"] = f"Bearer {self.people[request.who].token}"
        url = URL(self.server.url + request.target, encoded=True)
        async with asyncio.timeout(PATIENCE):
            async with self.server.http.request(
                request.method, url, data=request.body, headers=headers, allow_redirects=False
            ) as response:
                answer = Answer(response.status, response.headers, await response.read())
        if request.who is not None and answer.status == 401:
            await self._replace(request.who)
        return answer

    def broken(self) -> dict[str, list[tuple]]:
        """What is not in order in the database."""

        async def look() -> dict[str, list[tuple]]:
            async with self.server.database.read() as conn:
                return await broken(conn)

        return self.runner.run(look())

    async def _replace(self, who: int) -> None:
        """Whoever was made to log out or to end the account is followed by another."""
        if (await self.people[who].ask("GET", "/v3/account/whoami")).status == 401:
            self.people[who] = await self.server.register()
            await self.people[who].ask("POST", f"/v3/join/{segment(self.known['roomId'][0])}", {})


async def populated(server: RunningServer, runner: asyncio.Runner) -> Siege:
    alice, bob = await server.register("alice"), await server.register("bob")
    guest = server.with_token(await server.anonymous().post("/v3/register", {}, kind="guest"))
    rooms, events = [], []
    for version, preset in (("12", "public_chat"), ("10", "private_chat"), ("1", "public_chat")):
        options = {
            "preset": preset,
            "room_version": version,
            "invite": [bob.user_id],
            "name": f"Room {version}",
        }
        room_id = (await alice.post("/v3/createRoom", options))["room_id"]
        await bob.post(f"/v3/join/{segment(room_id)}")
        path = f"/v3/rooms/{segment(room_id)}/send/m.room.message/1"
        events.append((await bob.put(path, {"msgtype": "m.text", "body": "Hello"}))["event_id"])
        rooms.append(room_id)
    alias = "#here:localhost"
    await alice.put(f"/v3/directory/room/{segment(alias)}", {"room_id": rooms[0]})
    media_id = (await alice.post("/_matrix/media/v3/upload", image("PNG", (40, 30))))[
        "content_uri"
    ].rpartition("/")[2]
    later = {"delay_ms": 3_600_000, "content": {}}
    delayed = f"/v3/rooms/{segment(rooms[0])}/delayed_event/x.y/later"
    known = {
        "any": ["x", "1", "m.read", rooms[0], events[0], alice.user_id],
        "roomId": rooms,
        "roomIdOrAlias": [*rooms, alias],
        "roomAlias": [alias, "#there:localhost"],
        "eventId": events,
        "event_id": events,
        "userId": [alice.user_id, bob.user_id, guest.user_id, "@nobody:localhost", "@far:example.org"],
        "deviceId": [alice.device_id, "D"],
        "action": ["send", "cancel", "restart", "x"],
        "delayId": [(await alice.put(delayed, later))["delay_id"]],
        "serverName": ["localhost", "far.example.org"],
        "mediaId": [media_id],
        "filterId": ["0", "1"],
        "eventType": ["m.room.message", "m.room.member", "m.room.power_levels", "m.room.join_rules", "m.room.name",
                      "m.room.canonical_alias", "m.room.history_visibility", "m.room.create", "m.room.tombstone",
                      "m.room.server_acl", "m.room.redaction", "m.space.child", "m.room.encryption", "x.y"],
        "stateKey": ["", alice.user_id, bob.user_id, "x"],
        "relType": ["m.thread", "m.replace", "m.annotation"],
        "receiptType": ["m.read", "m.read.private", "m.fully_read"],
        "keyName": ["displayname", "avatar_url", "m.tz", "x.y"],
        "type": ["m.direct", "m.tag", "m.fully_read", "m.push_rules", "x.y"],
        "from": ["s1", "s5"],
        "kind": ["override", "content", "room", "sender", "underride", "x"],
        "ruleId": ["x", ".m.rule.master", ".m.rule.message", rooms[0], alice.user_id],
    }  # fmt: skip
    return Siege(server, runner, [alice, bob, guest], known)


@pytest.fixture(scope="module")
def siege(postgres, tmp_path_factory) -> Iterator[Siege]:
    """One server for all examples; at the end its database must be in order."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        url = runner.run(postgres.clone())
        server = runner.run(
            stack.enter_async_context(running(url, plain_config(tmp_path_factory.mktemp("siege"))))
        )
        yield runner.run(populated(server, runner))
        runner.run(stack.aclose())
        runner.run(postgres.drop(url))


@pytest.mark.timeout(240 if GIVEN is None else 3600)
def test_every_answer_is_of_the_specification(siege: Siege) -> None:
    @settings(
        max_examples=EXAMPLES * len(siege.server.endpoints),
        deadline=None,
        derandomize=GIVEN is None,
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def attack(data: st.DataObject) -> None:
        endpoint: Endpoint = data.draw(st.sampled_from(siege.server.endpoints), label="endpoint")
        request = data.draw(requests(endpoint, siege.known, len(siege.people)), label="request")
        check(siege.ask(request))

    attack()
    assert siege.broken() == {}


def test_many_at_once_leave_the_rooms_in_order(siege: Siege) -> None:
    """People come, go, throw each other out and change the rules, all at the same time."""
    siege.runner.run(tumult(siege.server))
    assert siege.broken() == {}


async def tumult(server: RunningServer) -> None:
    people = [await server.register() for _ in range(6)]
    levels = {"users_default": 50, "invite": 0, "state_default": 50}
    options = {"preset": "public_chat", "room_version": "10", "power_level_content_override": levels}
    rooms = [segment((await people[n].post("/v3/createRoom", options))["room_id"]) for n in range(2)]
    await asyncio.gather(*(person.post(f"/v3/join/{room}") for person in people for room in rooms))
    dice = random.Random(0)

    async def one(number: int) -> None:
        person, other, room = dice.choice(people), dice.choice(people), dice.choice(rooms)
        action = dice.choice(
            ["join", "leave", "kick", "ban", "unban", "invite", "forget", "name", "send", "send"]
        )
        body = {} if action in ("join", "leave", "forget") else {"user_id": other.user_id}
        if action == "name":
            answer = await person.ask("PUT", f"/v3/rooms/{room}/state/m.room.name", {"name": f"{number}"})
        elif action == "send":
            answer = await person.ask("PUT", f"/v3/rooms/{room}/send/x.y/{number}", {"n": number})
        else:
            answer = await person.ask("POST", f"/v3/rooms/{room}/{action}", body)
        check(answer)

    await asyncio.gather(*(one(number) for number in range(400)))


def check(answer: Answer) -> None:
    """[cs "Standard error response"] [cs "Web Browser Clients"]"""
    assert answer.status < 500, answer.content[:500]
    if answer.status < 400 or answer.headers["Content-Type"].startswith("text/html"):  # a page, for people
        return
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Content-Type"].startswith("application/json")
    asks_for_more = answer.status == 401 and "flows" in answer.json
    assert asks_for_more or (answer.json["errcode"].startswith("M_") and answer.json["error"])
