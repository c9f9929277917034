"""Accounts, from nothing to the first login."""

import asyncio
import hashlib
import hmac

import pytest

from homeserver.app import config as options
from homeserver.app.operator_api import Nonces
from storage.registration_tokens import insert_token
from tests.kit.server import PASSWORD, plain_config, running

DUMMY = {"type": "m.login.dummy"}


def wish(name, **more):
    return {"username": name, "password": PASSWORD, "auth": DUMMY, **more}


async def test_a_new_user_is_logged_in(server):
    alice = await server.register("alice", device_id="PHONE", initial_device_display_name="Phone")
    assert alice.user_id == "@alice:localhost"
    assert await alice.get("/v3/account/whoami") == {
        "user_id": "@alice:localhost",
        "device_id": "PHONE",
        "is_guest": False,
    }
    assert (await alice.get("/v3/devices/PHONE"))["display_name"] == "Phone"


async def test_without_a_name_one_is_made_up(server):
    body = {"password": PASSWORD, "auth": DUMMY, "inhibit_login": True}
    answer = await server.anonymous().post("/v3/register", body)
    assert answer["user_id"].endswith(":localhost")
    assert "access_token" not in answer
    assert "device_id" not in answer


NAMES = [
    ("ALICE", "@alice:localhost"),  # capitals are no difference
    ("a.b=c/d+e-f_1", "@a.b=c/d+e-f_1:localhost"),
    ("", "M_INVALID_USERNAME"),
    ("a b", "M_INVALID_USERNAME"),
    ("@alice", "M_INVALID_USERNAME"),
    ("alice:other", "M_INVALID_USERNAME"),
    ("élise", "M_INVALID_USERNAME"),
    ("Élise", "M_INVALID_USERNAME"),
    ("\u212aelvin", "M_INVALID_USERNAME"),  # the Kelvin sign becomes a k in lower case
    ("a\nb", "M_INVALID_USERNAME"),
    ("a" * 244, "@" + "a" * 244 + ":localhost"),  # 255 bytes in all
    ("a" * 245, "M_INVALID_USERNAME"),
    ("nul\0", "M_BAD_JSON"),
    (7, "M_BAD_JSON"),
]


async def test_names(server):
    for name, result in NAMES:
        answer = await server.anonymous().ask("POST", "/v3/register", wish(name))
        assert result in (answer.json.get("user_id"), answer.errcode)
        assert answer.status in (200, 400)


async def test_a_name_is_had_once(server):
    client = server.anonymous()
    assert await client.get("/v3/register/available", username="alice") == {"available": True}
    await server.register("alice")
    for name in ("alice", "Alice"):
        assert await client.refused("GET", "/v3/register/available", username=name) == (400, "M_USER_IN_USE")
        assert await client.refused("POST", "/v3/register", wish(name)) == (400, "M_USER_IN_USE")
    without_stages = {"username": "alice", "password": PASSWORD}
    assert await client.refused("POST", "/v3/register", without_stages) == (400, "M_USER_IN_USE")


async def test_of_two_who_want_a_name_at_once_one_gets_it(server):
    answers = await asyncio.gather(
        *[server.anonymous().ask("POST", "/v3/register", wish("alice")) for _ in range(5)]
    )
    assert sorted(answer.status for answer in answers) == [200, 400, 400, 400, 400]
    assert {answer.errcode for answer in answers if answer.status == 400} == {"M_USER_IN_USE"}


WRONG = [
    ({"password": "short"}, (400, "M_WEAK_PASSWORD")),
    ({"password": "x" * 600}, (400, "M_WEAK_PASSWORD")),
    ({"password": None}, (400, "M_MISSING_PARAM")),
    ({"password": 7}, (400, "M_BAD_JSON")),
    ({"auth": 7}, (400, "M_BAD_JSON")),
    ({"auth": {"type": 7}}, (400, "M_BAD_JSON")),
    ({"auth": {"type": "m.login.magic"}}, (401, "M_FORBIDDEN")),
    ({"auth": {"type": "m.login.password", "password": "x"}}, (401, "M_FORBIDDEN")),
    ({"device_id": "x" * 300}, (400, "M_INVALID_PARAM")),
    ({"inhibit_login": "yes"}, (400, "M_BAD_JSON")),
    ({"type": "m.login.application_service"}, (401, "M_MISSING_TOKEN")),
]


async def test_what_is_wrong_is_told(server):
    for change, refusal in WRONG:
        assert (
            await server.anonymous().refused("POST", "/v3/register", {**wish("alice"), **change}) == refusal
        )
        assert await server.anonymous().get("/v3/register/available", username="alice") == {"available": True}


async def test_closed_registration(pg_url, tmp_path):
    config = plain_config(tmp_path, registration=options.Registration())
    async with running(pg_url, config) as server:
        client = server.anonymous()
        assert await client.refused("POST", "/v3/register", wish("alice")) == (403, "M_FORBIDDEN")
        assert await client.refused("GET", "/v3/register/available", username="a") == (403, "M_FORBIDDEN")
        guest = await client.refused("POST", "/v3/register", {}, kind="guest")
        assert guest == (403, "M_GUEST_ACCESS_FORBIDDEN")


async def test_registration_with_tokens(pg_url, tmp_path):
    config = plain_config(tmp_path, registration=options.Registration(open=True, tokens_required=True))
    async with running(pg_url, config) as server:
        async with server.database.writer() as conn:
            await insert_token(conn, "once", uses_allowed=1, expires_ts=None)
            await insert_token(conn, "late", uses_allowed=None, expires_ts=1)
        client = server.anonymous()
        assert await client.refused("POST", "/v3/register", wish("alice")) == (401, "M_FORBIDDEN")
        for token, valid in (("once", True), ("late", False), ("none", False)):
            path = "/v1/register/m.login.registration_token/validity"
            assert await client.get(path, token=token) == {"valid": valid}
        stage = "m.login.registration_token"
        late = wish("alice", auth={"type": stage, "token": "late"})
        assert await client.refused("POST", "/v3/register", late) == (401, "M_UNAUTHORIZED")
        several = [
            client.ask("POST", "/v3/register", wish(name, auth={"type": stage, "token": "once"}))
            for name in ("alice", "bob", "carol")
        ]
        first, *others = sorted(answer.status for answer in await asyncio.gather(*several))
        assert first == 200
        assert set(others) <= {401, 403}  # refused at the stage, or just after it


async def test_guests(server):
    answer = await server.anonymous().post("/v3/register", {}, kind="guest")
    guest = server.with_token(answer)
    assert (await guest.get("/v3/account/whoami"))["is_guest"] is True
    name = answer["user_id"][1:].split(":")[0]
    assert await guest.get(f"/v3/profile/{answer['user_id']}/displayname") == {"displayname": name}
    assert await guest.refused("GET", "/v3/pushers") == (403, "M_GUEST_ACCESS_FORBIDDEN")
    assert await server.anonymous().refused("POST", "/v3/register", {}, kind="king") == (
        400,
        "M_UNRECOGNIZED",
    )


async def test_guests_become_users(server):
    answer = await server.anonymous().post("/v3/register", {}, kind="guest")
    guest, other = server.with_token(answer), await server.register("other")
    name = guest.user_id[1:].split(":")[0]
    asked = {"username": name, "password": "a new password", "auth": {"type": "m.login.dummy"}}
    forbidden, anonymous = (403, "M_FORBIDDEN"), server.anonymous()
    for wrong, refusal in (
        ({**asked, "guest_access_token": "nonsense"}, forbidden),
        ({**asked, "guest_access_token": other.token}, forbidden),
        ({**asked, "guest_access_token": guest.token, "username": "somebody"}, forbidden),
        ({**asked, "guest_access_token": other.token, "username": "other"}, forbidden),
        ({"password": "a new password", "guest_access_token": guest.token}, (400, "M_MISSING_PARAM")),
        (asked, (400, "M_USER_IN_USE")),
    ):
        assert await anonymous.refused("POST", "/v3/register", wrong) == refusal
    wish = {**asked, "guest_access_token": guest.token}
    user = server.with_token(await anonymous.post("/v3/register", wish))
    assert user.user_id == guest.user_id
    for client in (user, guest):  # what the guest has is the user's
        assert (await client.get("/v3/account/whoami"))["is_guest"] is False
    assert await anonymous.refused("POST", "/v3/register", wish) == forbidden  # a guest no longer
    login = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": name}}
    assert (await anonymous.post("/v3/login", {**login, "password": "a new password"}))[
        "user_id"
    ] == user.user_id


# --- with the shared secret

PATH = "/_synapse/admin/v1/register"


def proof(secret, body):
    parts = [body["nonce"], body["username"], body["password"], "admin" if body.get("admin") else "notadmin"]
    parts += [body["user_type"]] if "user_type" in body else []
    return hmac.new(secret.encode(), "\0".join(parts).encode(), hashlib.sha1).hexdigest()


@pytest.fixture
def secret(server):
    return (server.config.server.folder / server.config.registration.shared_secret_file).read_text().strip()


async def test_tools_make_accounts_with_proof_of_the_secret(server, secret):
    client = server.anonymous()
    body = {
        "nonce": (await client.get(PATH))["nonce"],
        "username": "root",
        "password": "wonder",
        "admin": True,
    }
    body["mac"] = proof(secret, body)
    answer = await client.post(PATH, body)
    assert answer["user_id"] == "@root:localhost"
    root = server.with_token(answer)
    assert (await root.get("/v3/account/whoami"))["user_id"] == "@root:localhost"
    async with server.database.read() as conn:
        assert await conn.fetchval("SELECT admin FROM accounts WHERE user_id = '@root:localhost'")
    again = {**body, "username": "second"}
    again["mac"] = proof(secret, again)
    assert await client.refused("POST", PATH, again) == (400, "M_UNKNOWN")  # a nonce is good once


UNPROVED = [
    ({"mac": "0" * 40}, (403, "M_FORBIDDEN")),
    ({"mac": "é"}, (403, "M_FORBIDDEN")),
    ({"admin": True}, (403, "M_FORBIDDEN")),  # not what was proved
    ({"user_type": "bot"}, (403, "M_FORBIDDEN")),
    ({"username": "o" * 600}, (400, "M_INVALID_PARAM")),
    ({"nonce": "guess"}, (400, "M_UNKNOWN")),
    ({"admin": "yes"}, (400, "M_BAD_JSON")),
]


async def test_a_proof_covers_what_was_proved(server, secret):
    for change, refusal in UNPROVED:
        client = server.anonymous()
        body = {"nonce": (await client.get(PATH))["nonce"], "username": "eve", "password": "wonder"}
        body["mac"] = proof(secret, body)
        assert await client.refused("POST", PATH, {**body, **change}) == refusal


async def test_nonces_end_soon_and_are_good_in_every_process(server):
    now = 1_000_000
    here, there = (Nonces(server.database, lambda: now) for _ in range(2))
    first, second, third = [await here.give() for _ in range(3)]
    assert sorted(await asyncio.gather(here.spend(first), there.spend(first))) == [False, True]
    now += 59_000
    assert await there.spend(second)
    now += 2_000
    assert not await here.spend(third)


async def test_a_repeated_registration_is_the_same_account(server):
    client = server.anonymous()
    body = {"username": "alice", "password": PASSWORD, "device_id": "PHONE"}
    session = (await client.ask("POST", "/v3/register", body)).json["session"]
    auth = {**DUMMY, "session": session}
    first = await client.post("/v3/register", {**body, "auth": auth})
    for again in ({**body, "auth": auth}, {"auth": auth}, {"auth": {"session": session}}):
        answer = await client.post("/v3/register", again)
        assert (answer["user_id"], answer["device_id"]) == (first["user_id"], "PHONE")
    wrong = {**body, "password": "another one", "auth": auth}
    assert await client.refused("POST", "/v3/register", wrong) == (400, "M_USER_IN_USE")
    other = {**body, "username": "bob", "auth": auth}
    assert await client.refused("POST", "/v3/register", other) == (403, "M_FORBIDDEN")
    phone = server.with_token(answer)
    reused = {"devices": ["PHONE"], "auth": auth}
    assert await phone.refused("POST", "/v3/delete_devices", reused) == (403, "M_FORBIDDEN")
