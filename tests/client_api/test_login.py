"""Logging in, going on with fresh tokens, and logging out."""

import asyncio
import time

import bcrypt
import pytest

from homeserver.app import config as options
from homeserver.services import access_tokens
from tests.client_api.test_interactive_auth import challenge, password
from tests.kit.server import PASSWORD, plain_config, running

SOFT = {"errcode": "M_UNKNOWN_TOKEN", "soft_logout": True}


def login(user, **more):
    identifier = {"type": "m.id.user", "user": user}
    return {"type": "m.login.password", "identifier": identifier, "password": PASSWORD, **more}


async def test_flows(server):
    flows = (await server.anonymous().get("/v3/login"))["flows"]
    assert {flow["type"] for flow in flows} == {"m.login.password", "m.login.token"}


GOOD = [
    login("alice"),
    login("@alice:localhost"),
    login("Alice"),
    login("@ALICE:localhost"),
    {"type": "m.login.password", "user": "alice", "password": PASSWORD},
]


async def test_whoever_knows_the_password_is_let_in(server):
    await server.register("alice")
    for body in GOOD:
        assert (await server.anonymous().post("/v3/login", body))["user_id"] == "@alice:localhost"


BAD = [
    (login("alice", password="wrong password"), (403, "M_FORBIDDEN")),
    (login("alice", password=""), (403, "M_FORBIDDEN")),
    (login("alice", password="x" * 100_000), (403, "M_FORBIDDEN")),
    (login("nobody"), (403, "M_FORBIDDEN")),
    (login("@alice:elsewhere"), (403, "M_FORBIDDEN")),
    (login("@alice"), (403, "M_FORBIDDEN")),
    (login("nul\0"), (403, "M_FORBIDDEN")),
    (login("alice", password=None), (400, "M_MISSING_PARAM")),
    (login("alice", identifier=None), (400, "M_MISSING_PARAM")),
    (login("alice", identifier={"type": "m.id.user"}), (400, "M_MISSING_PARAM")),
    (login("alice", identifier={"type": "m.id.phone", "phone": "1"}), (403, "M_FORBIDDEN")),
    (login("alice", identifier={"type": "org.example.id"}), (400, "M_UNKNOWN")),
    (login("alice", identifier="alice"), (400, "M_BAD_JSON")),
    (login(7), (400, "M_BAD_JSON")),
    (login("alice", device_id=7), (400, "M_BAD_JSON")),
    (login("alice", type="m.login.magic"), (400, "M_UNKNOWN")),
    (login("alice", type=None), (400, "M_BAD_JSON")),
    ({}, (400, "M_MISSING_PARAM")),
    ({"type": "m.login.token"}, (400, "M_MISSING_PARAM")),
    ({"type": "m.login.token", "token": "guess"}, (403, "M_FORBIDDEN")),
]


async def test_others_are_not(server):
    await server.register("alice")
    for body, refusal in BAD:
        assert await server.anonymous().refused("POST", "/v3/login", body) == refusal, body


async def test_guessing_is_slowed_down_for_the_account(pg_url, tmp_path):
    limits = options.RateLimits(login=options.Bucket(per_second=0.001, burst=4))
    async with running(pg_url, plain_config(tmp_path, rate_limits=limits)) as server:
        await server.register("alice")
        answers = [
            await server.anonymous().ask("POST", "/v3/login", login("alice", password="guess"))
            for _ in range(5)
        ]
        assert [answer.status for answer in answers] == [403] * 4 + [429]


async def test_a_second_login_on_a_device_ends_the_first(server):
    first = await server.register("alice", device_id="D", initial_device_display_name="Mine")
    second = await server.login("alice", device_id="D", initial_device_display_name="Other")
    assert await first.refused("GET", "/v3/account/whoami") == (401, "M_UNKNOWN_TOKEN")
    devices = (await second.get("/v3/devices"))["devices"]
    assert [(device["device_id"], device["display_name"]) for device in devices] == [("D", "Mine")]


async def test_imported_passwords_are_understood_and_hashed_anew(server):
    await server.register("alice")
    long = "é" * 60
    hashed = bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(4)).decode()
    async with server.database.writer() as conn:
        await conn.execute("UPDATE accounts SET password_hash = $1", hashed)
    await server.login("alice", long)
    async with server.database.read() as conn:
        assert (await conn.fetchval("SELECT password_hash FROM accounts")).startswith("$argon2id$")
    await server.login("alice", long)
    body = login("alice", password="é" * 59 + "x")
    assert await server.anonymous().refused("POST", "/v3/login", body) == (403, "M_FORBIDDEN")


async def test_logout(server):
    alice = await server.register("alice")
    other = await server.login("alice")
    await alice.post("/v3/logout")
    for _ in range(2):
        answer = await alice.ask("GET", "/v3/account/whoami")
        assert (answer.status, answer.errcode, answer.json["soft_logout"]) == (401, "M_UNKNOWN_TOKEN", False)
    assert [device["device_id"] for device in (await other.get("/v3/devices"))["devices"]] == [
        other.device_id
    ]
    third = await server.login("alice")
    await other.post("/v3/logout/all")
    for client in (other, third):
        assert await client.refused("GET", "/v3/account/whoami") == (401, "M_UNKNOWN_TOKEN")


async def test_another_process_hears_of_a_logout(server, tmp_path, monkeypatch):
    alice = await server.register("alice")
    other_config = plain_config(server.config.server.folder)
    async with running(server.database.url, other_config) as other:
        there = other.anonymous()
        there.token = alice.token
        await there.get("/v3/account/whoami")
        await alice.post("/v3/logout")
        monkeypatch.setattr(access_tokens, "LOOK_EVERY", 0.0)
        assert await there.refused("GET", "/v3/account/whoami") == (401, "M_UNKNOWN_TOKEN")


async def test_a_remembered_token_costs_no_query(server):
    alice = await server.register("alice")
    await alice.get("/v3/account/whoami")
    before = await queries(server)
    for _ in range(20):
        await alice.get("/v3/account/whoami")
    assert await queries(server) - before < 5


async def queries(server):
    async with server.database.read() as conn:
        await conn.execute("SELECT pg_stat_force_next_flush()")
        return await conn.fetchval(
            "SELECT seq_scan + coalesce(idx_scan, 0) FROM pg_stat_user_tables WHERE relname = 'access_tokens'"
        )


UNKNOWN_TOKENS = ["", "x", "hom_" + "x" * 5000, "a b", "\u00e9".encode().decode("latin-1")]


async def test_unknown_tokens(server):
    for token in UNKNOWN_TOKENS:
        client = server.anonymous()
        client.token = token
        status, errcode = await client.refused("GET", "/v3/account/whoami")
        assert (status, errcode) in ((401, "M_UNKNOWN_TOKEN"), (401, "M_MISSING_TOKEN"))


async def test_locked_accounts_may_only_log_out(server):
    alice = await server.register("alice")
    async with server.database.transaction() as conn:
        await conn.execute("UPDATE accounts SET locked = true")
        await conn.execute("DELETE FROM revocations")
        await conn.execute("INSERT INTO revocations (count) VALUES (99)")
    alice_later = await server.login("alice")  # logging in is not forbidden, using it is
    answer = await alice_later.ask("GET", "/v3/account/whoami")
    assert (answer.status, answer.errcode, answer.json["soft_logout"]) == (401, "M_USER_LOCKED", True)
    await alice_later.post("/v3/logout")
    assert alice.token


# --- tokens that are refreshed


@pytest.fixture
async def fresh(pg_url, tmp_path):
    """A server whose access tokens live for an hour."""
    config = plain_config(tmp_path, sessions=options.Sessions(access_token_lifetime=3600))
    async with running(pg_url, config) as server:
        yield server


def with_grant(client, grant):
    return type(client)(client.url, client.http, client.user_id, client.device_id, grant["access_token"])


async def refreshed(server, token):
    return await server.anonymous().post("/v3/refresh", {"refresh_token": token})


async def test_only_who_can_refresh_gets_tokens_that_end(fresh):
    body = {"username": "alice", "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
    answer = await fresh.anonymous().post("/v3/register", {**body, "refresh_token": True})
    assert answer["expires_in_ms"] == 3_600_000
    plain = await fresh.anonymous().post("/v3/login", login("alice"))
    assert "refresh_token" not in plain
    assert "expires_in_ms" not in plain


async def test_the_old_tokens_end_when_the_new_ones_are_used(fresh):
    await fresh.register("alice")
    first = await fresh.anonymous().post("/v3/login", login("alice", refresh_token=True))
    alice = fresh.with_token(first)
    await alice.get("/v3/account/whoami")
    second = await refreshed(fresh, first["refresh_token"])
    assert (await alice.get("/v3/account/whoami"))["device_id"] == first["device_id"]
    third = await refreshed(fresh, first["refresh_token"])  # the answer had been lost
    unused = with_grant(alice, second)
    assert await unused.refused("GET", "/v3/account/whoami") == (401, "M_UNKNOWN_TOKEN")
    assert (await with_grant(alice, third).get("/v3/account/whoami"))["device_id"] == first["device_id"]
    assert await alice.refused("GET", "/v3/account/whoami") == (401, "M_UNKNOWN_TOKEN")
    refusal = await fresh.anonymous().refused(
        "POST", "/v3/refresh", {"refresh_token": first["refresh_token"]}
    )
    assert refusal == (401, "M_UNKNOWN_TOKEN")
    fourth = await refreshed(fresh, third["refresh_token"])
    fifth = await refreshed(
        fresh, fourth["refresh_token"]
    )  # using a refresh token ends what came before, too
    refusal = await fresh.anonymous().refused(
        "POST", "/v3/refresh", {"refresh_token": third["refresh_token"]}
    )
    assert refusal == (401, "M_UNKNOWN_TOKEN")
    await with_grant(alice, fifth).get("/v3/account/whoami")


async def test_a_refresh_lets_processes_remember_all_other_tokens(fresh):
    async def revocations():
        async with fresh.database.read() as conn:
            return await conn.fetchval("SELECT count FROM revocations")

    await fresh.register("alice")
    first = await fresh.anonymous().post("/v3/login", login("alice", refresh_token=True))
    before = await revocations()
    second = await refreshed(fresh, first["refresh_token"])
    assert await revocations() == before  # the first token is good until the second is used
    await fresh.with_token({**first, **second}).get("/v3/account/whoami")
    assert await revocations() == before + 1
    old = await fresh.with_token(first).refused("GET", "/v3/account/whoami")
    assert old == (401, "M_UNKNOWN_TOKEN")


async def test_a_refresh_token_used_twice_at_once_leaves_one_line(fresh):
    await fresh.register("alice")
    first = await fresh.anonymous().post("/v3/login", login("alice", refresh_token=True))
    grants = await asyncio.gather(*[refreshed(fresh, first["refresh_token"]) for _ in range(4)])
    alice = fresh.with_token(first)
    statuses = []
    for grant in grants:
        statuses.append((await with_grant(alice, grant).ask("GET", "/v3/account/whoami")).status)
    assert sorted(statuses) == [200, 401, 401, 401]


async def test_an_expired_token_is_a_soft_logout(fresh):
    await fresh.register("alice")
    first = await fresh.anonymous().post("/v3/login", login("alice", refresh_token=True))
    async with fresh.database.writer() as conn:
        past = int(time.time() * 1000) - 1
        await conn.execute("UPDATE access_tokens SET expires_ts = $1 WHERE expires_ts IS NOT NULL", past)
    answer = await fresh.with_token(first).ask("GET", "/v3/account/whoami")
    assert answer.status == 401
    assert answer.json.items() >= SOFT.items()
    second = await refreshed(fresh, first["refresh_token"])
    await fresh.with_token({**first, **second}).get("/v3/account/whoami")


BAD_REFRESH_TOKENS = [
    ({}, (400, "M_MISSING_PARAM")),
    ({"refresh_token": 7}, (400, "M_BAD_JSON")),
    ({"refresh_token": "guess"}, (401, "M_UNKNOWN_TOKEN")),
]


async def test_bad_refresh_tokens(server):
    for body, refusal in BAD_REFRESH_TOKENS:
        assert await server.anonymous().refused("POST", "/v3/refresh", body) == refusal


async def test_logging_out_ends_the_refresh_token(fresh):
    await fresh.register("alice")
    first = await fresh.anonymous().post("/v3/login", login("alice", refresh_token=True))
    await fresh.with_token(first).post("/v3/logout")
    body = {"refresh_token": first["refresh_token"]}
    assert await fresh.anonymous().refused("POST", "/v3/refresh", body) == (401, "M_UNKNOWN_TOKEN")


# --- one session lets another one in


async def test_a_login_token_is_good_once(server):
    alice = await server.register("alice")
    session = (await challenge(alice, "POST", "/v1/login/get_token", {}))["session"]
    made = await alice.post("/v1/login/get_token", {"auth": password(alice.user_id, session)})
    assert made["expires_in_ms"] == 120_000
    body = {"type": "m.login.token", "token": made["login_token"]}
    answers = await asyncio.gather(*[server.anonymous().ask("POST", "/v3/login", body) for _ in range(3)])
    assert sorted(answer.status for answer in answers) == [200, 403, 403]


async def test_a_login_token_ends_soon(server):
    alice = await server.register("alice")
    made = await alice.post("/v1/login/get_token", {"auth": password(alice.user_id)})
    async with server.database.writer() as conn:
        await conn.execute("UPDATE short_lived_tokens SET expires_ts = 1")
    body = {"type": "m.login.token", "token": made["login_token"]}
    assert await server.anonymous().refused("POST", "/v3/login", body) == (403, "M_FORBIDDEN")
