"""User-interactive authentication, by way of endpoints that need it."""

import asyncio

from homeserver.services import interactive_auth
from tests.kit.server import PASSWORD


def password(user_id, session=None, text=PASSWORD):
    auth = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user_id},
        "password": text,
    }
    return auth if session is None else {**auth, "session": session}


async def challenge(client, method, path, body):
    answer = await client.ask(method, path, body)
    assert answer.status == 401
    assert answer.json["flows"] == [{"stages": ["m.login.password"]}]
    return answer.json


async def test_the_first_answer_is_no_error(server):
    answer = await server.anonymous().ask("POST", "/v3/register", {"username": "alice", "password": PASSWORD})
    assert answer.status == 401
    assert answer.json.keys() == {"flows", "params", "session", "completed"}
    assert answer.json["flows"] == [{"stages": ["m.login.dummy"]}]


async def test_only_auth_means_the_request_of_the_session(server):
    client, body = server.anonymous(), {"username": "alice", "password": PASSWORD, "device_id": "D"}
    session = (await client.ask("POST", "/v3/register", body)).json["session"]
    done = await client.post("/v3/register", {"auth": {"type": "m.login.dummy", "session": session}})
    assert (done["user_id"], done["device_id"]) == ("@alice:localhost", "D")


async def test_who_asked_for_the_flows_first_may_then_say_what_for(server):
    client = server.anonymous()
    session = (await client.ask("POST", "/v3/register", {})).json["session"]
    body = {"username": "alice", "password": PASSWORD, "auth": {"type": "m.login.dummy", "session": session}}
    assert (await client.post("/v3/register", body))["user_id"] == "@alice:localhost"


async def test_a_session_opens_the_way_once(server):
    alice = await server.register()
    for device in ("A", "B"):
        await server.login(alice.user_id, device_id=device)
    session = (await challenge(alice, "POST", "/v3/delete_devices", {"devices": ["A"]}))["session"]
    body = {"devices": ["A"], "auth": password(alice.user_id, session)}
    answers = await asyncio.gather(*[alice.ask("POST", "/v3/delete_devices", body) for _ in range(4)])
    assert sorted(answer.status for answer in answers)[:1] == [200]
    assert sum(answer.status == 200 for answer in answers) == 1
    assert await alice.refused("POST", "/v3/delete_devices", body) == (401, "M_FORBIDDEN")


async def test_a_session_is_for_one_purpose(server):
    alice = await server.register()
    for device in ("A", "B"):
        await server.login(alice.user_id, device_id=device)
    session = (await challenge(alice, "DELETE", "/v3/devices/A", {}))["session"]
    auth = {"auth": password(alice.user_id, session)}
    assert await alice.refused("DELETE", "/v3/devices/B", auth) == (403, "M_FORBIDDEN")
    assert await alice.refused("POST", "/v3/account/deactivate", auth) == (403, "M_FORBIDDEN")
    await alice.delete("/v3/devices/A", auth)


async def test_a_session_is_its_users_alone(server):
    alice, eve = await server.register(), await server.register()
    await server.login(alice.user_id, device_id="A")
    session = (await challenge(alice, "DELETE", "/v3/devices/A", {}))["session"]
    assert await eve.refused("DELETE", "/v3/devices/A", {"auth": password(eve.user_id, session)}) == (
        403,
        "M_FORBIDDEN",
    )


async def test_the_password_must_be_that_of_who_asks(server):
    alice, eve = await server.register(), await server.register()
    session = (await challenge(eve, "DELETE", f"/v3/devices/{eve.device_id}", {}))["session"]
    path = f"/v3/devices/{eve.device_id}"
    answer = await eve.ask("DELETE", path, {"auth": password(eve.user_id, session, "wrong password")})
    assert (answer.status, answer.errcode, answer.json["session"]) == (401, "M_FORBIDDEN", session)
    assert answer.json["completed"] == []
    auth = {"auth": password(alice.user_id, session)}
    assert await eve.refused("DELETE", path, auth) == (403, "M_FORBIDDEN")
    await eve.delete(path, {"auth": password(eve.user_id, session)})


ANYTHING = [
    {"type": "m.login.password"},
    {"type": "m.login.password", "password": 7},
    {"type": "m.login.password", "password": "x", "identifier": 7},
    {"type": "m.login.password", "password": "x", "identifier": {"type": "m.id.phone"}},
    {"type": "m.login.password", "password": "x", "user": "@a:elsewhere"},
    {"type": "m.login.dummy"},
    {"type": "m.login.registration_token", "token": "x"},
    {"session": "unknown", "type": "m.login.password", "password": PASSWORD},
    {"session": 7, "type": "m.login.password", "password": PASSWORD},
    {"session": "\ud7ff\0", "type": "m.login.password", "password": PASSWORD},
    {"session": ["x"]},
]


async def test_anything_else_is_told_how_to_go_on(server):
    for auth in ANYTHING:
        alice = await server.register()
        answer = await alice.ask("DELETE", "/v3/devices/X", {"auth": auth})
        assert answer.status == 401
        assert answer.json["flows"] == [{"stages": ["m.login.password"]}]
        assert answer.json["session"]


async def test_sessions_end(server, monkeypatch):
    alice = await server.register()
    session = (await challenge(alice, "DELETE", "/v3/devices/X", {}))["session"]
    monkeypatch.setattr(interactive_auth, "LIFETIME_MS", -1)
    answer = await alice.ask("DELETE", "/v3/devices/X", {"auth": password(alice.user_id, session)})
    assert answer.status == 401
    assert answer.json["session"] != session


async def test_the_database_alone_tells_no_password(server):
    session = (
        await server.anonymous().ask("POST", "/v3/register", {"username": "alice", "password": PASSWORD})
    ).json["session"]
    async with server.database.read() as conn:
        rows = [tuple(row) for row in await conn.fetch("SELECT * FROM interactive_auth")]
    assert len(rows) == 1
    assert session not in str(rows)
    assert PASSWORD not in str(rows)
