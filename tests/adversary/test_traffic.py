"""Requests that must be refused, answers that never end, and servers that lie when they are asked."""

import asyncio

import pytest

from tests.kit.server import segment

pytestmark = [pytest.mark.interop, pytest.mark.timeout(150)]

SEND = "/_matrix/federation/v1/send/evil"
BODY = {"origin": "evil", "origin_server_ts": 1, "pdus": [], "edus": []}

HEADERS = [
    "X-Matrix",
    "X-Matrix origin",
    "Bearer abc",
    'X-Matrix origin="a",key="b"',
    "X-Matrix " + "a=b," * 2000,
]


class TestRequests:
    async def test_an_unsigned_request(self, victim):
        assert (await victim.ask("PUT", SEND, body=BODY, header=""))[0] == 401

    async def test_a_header_that_is_none(self, victim):
        for header in HEADERS:
            assert (await victim.ask("PUT", SEND, body=BODY, header=header))[0] == 401, header

    async def test_a_signature_by_another_key(self, victim):
        assert (await victim.ask("PUT", SEND, body=BODY, key="other"))[0] == 401

    async def test_in_our_own_name(self, victim):
        assert (await victim.ask("PUT", SEND, body=BODY, origin=victim.name))[0] in (401, 403)

    async def test_meant_for_another_server(self, victim):
        assert (await victim.ask("PUT", SEND, body=BODY, destination="other.example"))[0] == 401

    async def test_a_transaction_of_another_origin(self, victim):
        made = await victim.make()
        await victim.adversary.do("send", to=victim.name, pdus=[made["pdu"]], origin="other.example")

    async def test_too_many_pdus(self, victim):
        made = await victim.make()
        await victim.send(*[made["pdu"]] * 51, status=400)

    async def test_too_many_edus(self, victim):
        edus = [{"edu_type": "m.typing", "content": {}}] * 101
        await victim.send(status=400, edus=edus)

    async def test_a_giant_transaction(self, victim):
        assert await victim.adversary.do("send_giant", to=victim.name, size=30_000_000) in (413, None)

    async def test_fifty_giant_events(self, victim):
        made = [await victim.make(content={"body": "x" * 60_000}) for _ in range(50)]
        await victim.send(*[each["pdu"] for each in made])
        await victim.alice.sees(victim.room_id, made[-1]["event_id"])

    async def test_a_join_of_somebody_else(self, victim):
        user = "@eve:other.example"
        path = f"/_matrix/federation/v1/make_join/{segment(victim.room_id)}/{segment(user)}?ver=11"
        assert (await victim.ask("GET", path))[0] == 403

    async def test_a_send_join_that_is_none(self, victim):
        made = await victim.make()
        path = f"/_matrix/federation/v2/send_join/{segment(victim.room_id)}/{segment(made['event_id'])}"
        assert (await victim.ask("PUT", path, body=made["pdu"]))[0] == 400

    async def test_an_invite_that_is_none(self, victim):
        made = await victim.make(
            "m.room.member", {"membership": "invite"}, state_key="@nobody:" + victim.name
        )
        path = f"/_matrix/federation/v2/invite/{segment(victim.room_id)}/{segment(made['event_id'])}"
        body = {"event": made["pdu"], "room_version": "11", "invite_room_state": []}
        assert (await victim.ask("PUT", path, body=body))[0] in (400, 403, 404)


class TestSpoofedEdus:
    async def test_in_the_name_of_others(self, victim):
        alice, room_id = victim.alice.user_id, victim.room_id
        receipt = {room_id: {"m.read": {alice: {"data": {"ts": 1}, "event_ids": ["$evil"]}}}}
        presence = {"push": [{"user_id": alice, "presence": "online", "status_msg": "evil"}]}
        letter = {"sender": alice, "type": "evil", "message_id": "1", "messages": {alice: {"*": {"evil": 1}}}}
        device = {"user_id": alice, "device_id": "EVIL", "stream_id": 1, "prev_id": []}
        edus = {
            "m.typing": {"room_id": room_id, "user_id": alice, "typing": True},
            "m.receipt": receipt,
            "m.presence": presence,
            "m.direct_to_device": letter,
            "m.device_list_update": device,
        }
        await victim.send(edus=[{"edu_type": kind, "content": content} for kind, content in edus.items()])
        await victim.accepts()
        view = victim.alice.view(room_id)
        assert alice not in view.typing
        assert (alice, "m.read") not in view.receipts
        assert victim.alice.presence.get(alice, {}).get("status_msg") != "evil"
        assert victim.alice.to_device == []

    async def test_misshapen(self, victim):
        contents = [{}, {"room_id": 7}, {"push": 7}, {"messages": []}, {"user_id": "\x00"}, {"sender": []}]
        for kind in ("m.typing", "m.receipt", "m.presence", "m.direct_to_device", "\x00", "x" * 300):
            await victim.send(edus=[{"edu_type": kind, "content": content} for content in contents])
        await victim.accepts()


class TestAnswersWithoutEnd:
    @pytest.mark.parametrize("mode", ["endless", "drip", "silent"])
    async def test_of_the_keys(self, victim, mode, authority):
        """A server whose keys cannot be had is refused, in bounded time."""
        from tests.adversary.adversary import Adversary

        other = Adversary(authority)
        await other.start()
        try:
            await other.do("serve", method="GET", path="/_matrix/key", mode=mode)
            said = await other.do("send", to=victim.name)
            assert said["status"] == 401, said
        finally:
            await other.stop()

    @pytest.mark.parametrize("mode", ["endless", "drip", "silent"])
    async def test_of_missing_events(self, victim, mode):
        """The room goes on while the gap is asked for."""
        for path in ("get_missing_events", "state_ids", "state", "event", "event_auth"):
            method = "POST" if path == "get_missing_events" else "GET"
            await victim.adversary.do(
                "serve", method=method, path=f"/_matrix/federation/v1/{path}/", mode=mode
            )
        await victim.send((await victim.make(prev=["$" + "x" * 43]))["pdu"])
        await victim.accepts()

    async def test_of_a_profile(self, victim):
        await victim.adversary.do(
            "serve", method="GET", path="/_matrix/federation/v1/query/profile", mode="endless"
        )
        path = f"/v3/profile/{segment(victim.adversary.user('unknown'))}"
        assert (await victim.alice.client.refused("GET", path))[0] in (404, 502, 504)

    async def test_of_a_join(self, victim):
        """As fast as it can: a size limit ends it."""
        await victim.adversary.do(
            "serve", method="GET", path="/_matrix/federation/v1/make_join", mode="endless"
        )
        room_id = f"!endless:{victim.adversary.name}"
        path = f"/v3/join/{segment(room_id)}"
        refused = await victim.alice.client.refused("POST", path, {}, server_name=victim.adversary.name)
        assert refused[0] in (404, 502, 504)


class TestLies:
    async def test_a_chain_that_goes_on_for_ever(self, victim):
        """Each answer makes more events missing; the work for it ends."""
        previous = "$" + "x" * 43
        for number in range(300):
            made = await victim.make(prev=[previous], change={"depth": 10 + number})
            previous = made["event_id"]
        await victim.adversary.do(
            "serve",
            method="POST",
            path="/_matrix/federation/v1/get_missing_events/",
            mode="chain",
            argument=victim.room_id,
        )
        await victim.send(made["pdu"])
        await victim.accepts()
        asked = await victim.adversary.do("calls", path="/_matrix/federation/v1/get_missing_events/")
        assert asked < 100

    async def test_another_event_than_was_asked_for(self, victim):
        wrong = await victim.make()
        await victim.adversary.do(
            "serve", method="GET", path="/_matrix/federation/v1/event/", mode="event", argument=wrong["pdu"]
        )
        await victim.refuses(await victim.make(auth=["$" + "y" * 43]))

    async def test_many_at_once(self, victim):
        """Two hundred gaps, each of which cannot be closed."""
        made = [await victim.make(prev=[f"${'z' * 40}{number:03}"]) for number in range(200)]
        starts = range(0, len(made), 50)
        await asyncio.gather(*(victim.send(*[each["pdu"] for each in made[at : at + 50]]) for at in starts))
        await victim.accepts()
