"""Another password, the end of an account, and addresses that we do not keep."""

from tests.client_api.test_interactive_auth import challenge, password
from tests.client_api.test_login import login
from tests.kit.server import PASSWORD

NEW = "another long password"


async def test_a_new_password_ends_the_other_sessions(server):
    alice = await server.register("alice")
    other = await server.login("alice")
    session = (await challenge(alice, "POST", "/v3/account/password", {"new_password": NEW}))["session"]
    await alice.post("/v3/account/password", {"new_password": NEW, "auth": password("alice", session)})
    await alice.get("/v3/account/whoami")
    assert await other.refused("GET", "/v3/account/whoami") == (401, "M_UNKNOWN_TOKEN")
    assert await server.anonymous().refused("POST", "/v3/login", login("alice")) == (403, "M_FORBIDDEN")
    await server.login("alice", NEW)


async def test_or_leaves_them(server):
    alice = await server.register("alice")
    other = await server.login("alice")
    body = {"new_password": NEW, "logout_devices": False, "auth": password("alice")}
    await alice.post("/v3/account/password", body)
    await other.get("/v3/account/whoami")


async def test_the_password_alone_may_change_itself(server):
    alice = await server.register("alice")
    client, body = server.anonymous(), {"new_password": NEW}
    nobody = {**body, "auth": {"type": "m.login.password", "password": PASSWORD}}
    assert await client.refused("POST", "/v3/account/password", nobody) == (401, "M_MISSING_PARAM")
    await client.post("/v3/account/password", {**body, "auth": password("alice")})
    assert await alice.refused("GET", "/v3/account/whoami") == (401, "M_UNKNOWN_TOKEN")
    await server.login("alice", NEW)


async def test_what_is_no_new_password(server):
    alice = await server.register("alice")
    for body, refusal in (
        ({"new_password": "short"}, (400, "M_WEAK_PASSWORD")),
        ({"new_password": 7}, (400, "M_BAD_JSON")),
        ({}, (400, "M_MISSING_PARAM")),
    ):
        body = {**body, "auth": password("alice")}
        assert await alice.refused("POST", "/v3/account/password", body) == refusal


async def test_deactivation(server):
    alice, bob = await server.register("alice"), await server.register("bob")
    room = (await bob.post("/v3/createRoom", {"preset": "public_chat"}))["room_id"]
    await alice.post(f"/v3/join/{room}")
    await alice.put("/v3/profile/@alice:localhost/displayname", {"displayname": "Alice"})
    other = await server.login("alice")
    session = (await challenge(alice, "POST", "/v3/account/deactivate", {"erase": True}))["session"]
    answer = await alice.post("/v3/account/deactivate", {"erase": True, "auth": password("alice", session)})
    assert answer == {"id_server_unbind_result": "success"}
    for client in (alice, other):
        assert await client.refused("GET", "/v3/account/whoami") == (401, "M_UNKNOWN_TOKEN")
    refusal = await server.anonymous().refused("POST", "/v3/login", login("alice"))
    assert refusal == (403, "M_USER_DEACTIVATED")
    refusal = await server.anonymous().refused("GET", "/v3/register/available", username="alice")
    assert refusal == (400, "M_USER_IN_USE")
    joined = (await bob.get(f"/v3/rooms/{room}/joined_members"))["joined"]
    assert list(joined) == ["@bob:localhost"]
    assert await bob.get("/v3/profile/@alice:localhost") == {}


async def test_addresses(server):
    alice = await server.register("alice")
    assert await alice.get("/v3/account/3pid") == {"threepids": []}
    mail = {"client_secret": "x", "email": "alice@example.org", "send_attempt": 1}
    address = {"medium": "email", "address": "alice@example.org"}
    session = {"client_secret": "x", "sid": "1"}
    server = {"id_server": "id.example.org", "id_access_token": "x"}
    for path, body, refusal in (
        ("account/3pid", {"three_pid_creds": {"sid": "1"}}, (400, "M_MISSING_PARAM")),
        ("account/3pid", {"three_pid_creds": session}, (403, "M_THREEPID_AUTH_FAILED")),
        ("account/3pid/add", session, (401, None)),
        ("account/3pid/bind", {}, (400, "M_MISSING_PARAM")),
        ("account/3pid/bind", {**session, **server}, (400, "M_SERVER_NOT_TRUSTED")),
        ("account/3pid/email/requestToken", mail, (400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")),
        ("account/3pid/msisdn/requestToken", mail, (400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")),
        ("account/password/email/requestToken", mail, (400, "M_THREEPID_NOT_FOUND")),
        ("register/email/requestToken", mail, (403, "M_THREEPID_DENIED")),
        ("account/3pid/delete", {}, (400, "M_MISSING_PARAM")),
    ):
        assert await alice.refused("POST", f"/v3/{path}", body) == refusal, path
    for path in ("delete", "unbind"):
        answer = await alice.post(f"/v3/account/3pid/{path}", address)
        assert answer == {"id_server_unbind_result": "no-support"}
