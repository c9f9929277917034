"""OAuth 2.0 as applications and people meet it [cs "OAuth 2.0 API"]."""

import time

import pytest
from attrs import evolve

from homeserver.app import config as options
from homeserver.app.config_people import Terms
from tests.client_api.test_cross_signing import UPLOAD
from tests.kit.crypto import UserCrypto
from tests.kit.oauth import BASE, DEVICE_GRANT, METADATA, VERIFIER, Application, led, scope, visitor
from tests.kit.server import PASSWORD, plain_config, running


async def test_without_an_address_there_is_none(server):
    for method, path, body in (
        ("GET", "/v1/auth_metadata", None),
        ("POST", "/_matrix/homing/oauth/register", METADATA),
        ("POST", "/_matrix/homing/oauth/token", {}),
    ):
        assert await server.anonymous().refused(method, path, body) == (404, "M_UNRECOGNIZED")


async def test_who_logs_in_lets_a_client_in(oauth):
    alice = await oauth.register("alice")
    app, browser = await Application.of(oauth), visitor(oauth)
    await browser.open(app.request())
    assert "My <App> (example.com) wants to use your account" in browser.text
    await browser.press("login", name="alice", password=PASSWORD)
    assert f"from example.com wants to use your account {alice.user_id}" in browser.text
    assert "form-action 'self' https://app.example.com;" in browser.answer.headers["Content-Security-Policy"]
    await browser.press("allow")
    told = led(browser)
    assert (told["state"], told["iss"]) == ("s t", f"{BASE}/")
    answer = await app.exchange(told["code"])
    assert answer.headers["Cache-Control"] == "no-store"
    assert (
        answer.json.items()
        >= {"token_type": "Bearer", "expires_in": 3600, "scope": scope("AAABBBCCCDDD")}.items()
    )
    client = app.client(answer)
    whoami = await client.get("/v3/account/whoami")
    assert whoami == {"user_id": alice.user_id, "device_id": "AAABBBCCCDDD", "is_guest": False}
    device = await client.get("/v3/devices/AAABBBCCCDDD")
    assert device["display_name"] == "My <App>"


async def test_who_is_logged_in_is_not_asked_again(oauth):
    await oauth.register("alice")
    app, browser = await Application.of(oauth), visitor(oauth)
    await app.log_in(browser, "alice")
    await browser.open(app.request("ANOTHERDEVICE"))
    await browser.press("deny")
    assert led(browser)["error"] == "access_denied"
    await browser.open(app.request("ANOTHERDEVICE"))
    await browser.press("leave")
    assert "Log in to localhost" in browser.text


async def test_a_wrong_password(oauth):
    await oauth.register("alice")
    app, browser = await Application.of(oauth), visitor(oauth)
    await browser.open(app.request())
    await browser.press("login", name="alice", password="guess")
    assert "Wrong user name or password" in browser.text
    assert browser.answer.status == 400


async def test_forms_of_others_are_refused(oauth):
    """Another site can make a browser send a form with its cookie, but does not know the key."""
    alice = await oauth.register("alice")
    app, browser = await Application.of(oauth), visitor(oauth)
    await browser.open(app.request())
    await browser.press("login", name="alice", password=PASSWORD)
    before = browser.at
    await browser._ask("POST", before, {"step": "allow"})
    assert browser.answer.status == 400
    assert "please try again" in browser.text
    await browser._ask(
        "POST",
        oauth.url + app.path("account_management_uri"),
        {"step": "device", "device_id": alice.device_id},
    )
    assert (await alice.get("/v3/account/whoami"))["device_id"] == alice.device_id


async def test_a_code_is_good_once(oauth):
    await oauth.register("alice")
    app, browser = await Application.of(oauth), visitor(oauth)
    await browser.open(app.request())
    await browser.press("login", name="alice", password=PASSWORD)
    await browser.press("allow")
    code = led(browser)["code"]
    client = app.client(await app.exchange(code))
    await client.get("/v3/account/whoami")
    again = await app.exchange(code)
    assert (again.status, again.json["error"]) == (400, "invalid_grant")
    # Somebody has stolen it: what the first had is gone as well [RFC 6749 section 4.1.2].
    assert await client.refused("GET", "/v3/account/whoami") == (401, "M_UNKNOWN_TOKEN")


@pytest.mark.parametrize(
    ("change", "error", "status"),
    [
        ({"code_verifier": VERIFIER[::-1]}, "invalid_grant", 400),
        ({"code_verifier": ""}, "invalid_grant", 400),
        ({"redirect_uri": "https://example.com/"}, "invalid_grant", 400),
        ({"code": "guess"}, "invalid_grant", 400),
        ({"client_id": "unknown"}, "invalid_client", 401),
        ({"grant_type": "password"}, "unsupported_grant_type", 400),
        ({"grant_type": "refresh_token"}, "invalid_grant", 400),
    ],
)
async def test_codes_are_bound_to_their_client(oauth, change, error, status):
    await oauth.register("alice")
    app, browser = await Application.of(oauth), visitor(oauth)
    await browser.open(app.request())
    await browser.press("login", name="alice", password=PASSWORD)
    await browser.press("allow")
    answer = await app.exchange(**{"code": led(browser)["code"], **change})
    assert (answer.status, answer.json["error"]) == (status, error)


async def test_another_client_cannot_bring_the_code(oauth):
    await oauth.register("alice")
    app, browser = await Application.of(oauth), visitor(oauth)
    thief = await Application.of(oauth, client_name="Thief")
    await browser.open(app.request())
    await browser.press("login", name="alice", password=PASSWORD)
    await browser.press("allow")
    answer = await thief.exchange(led(browser)["code"])
    assert answer.json["error"] == "invalid_grant"


async def test_requests_with_faults(oauth):
    app, browser = await Application.of(oauth), visitor(oauth)
    await browser.open(app.request(scope="openid"))
    assert led(browser)["error"] == "invalid_scope"
    for change in ({"redirect_uri": "https://evil.org/"}, {"client_id": "unknown"}):
        await browser.open(app.request(**change))
        assert browser.answer.status == 400
        assert "This does not work" in browser.text


async def test_registrations_that_are_refused(oauth):
    path = "/_matrix/homing/oauth/register"
    for change, error in (
        ({"client_uri": "http://example.com"}, "invalid_client_metadata"),
        ({"redirect_uris": ["https://evil.org/"]}, "invalid_redirect_uri"),
    ):
        answer = await oauth.anonymous().ask("POST", path, {**METADATA, **change})
        assert (answer.status, answer.json["error"]) == (400, error)
    same = {(await Application.of(oauth)).client_id for _ in range(2)}
    assert len(same) == 1


async def test_new_people(pg_url, tmp_path):
    config = plain_config(tmp_path)
    config = evolve(
        config,
        server=evolve(config.server, public_baseurl=BASE),
        terms=Terms(url="https://example.org/terms"),
        registration=options.Registration(open=True, tokens_required=True),
    )
    async with running(pg_url, config) as server:
        app, browser = await Application.of(server), visitor(server)
        assert app.told["prompt_values_supported"] == ["create"]
        async with server.database.writer() as conn:
            await conn.execute("INSERT INTO registration_tokens (token, uses_allowed) VALUES ('good', 1)")
        await browser.open(app.request(prompt="create"))
        given = {"name": "Carol", "password": PASSWORD, "again": PASSWORD}
        for fault, said in (
            ({"again": "another"}, "differ"),
            ({"password": "x", "again": "x"}, "at least 8 characters"),
            ({"name": "c a r o l"}, "User names have"),
            ({}, "terms must be accepted"),
            ({"terms": "yes", "token": "bad"}, "token cannot be used"),
        ):
            await browser.press("register", **{**given, **fault})
            assert said in browser.text
        await browser.press("register", **given, terms="yes", token="good")
        assert "your account @carol:localhost" in browser.text
        await browser.press("allow")
        assert (await app.exchange(led(browser)["code"])).status == 200


async def test_where_registration_is_closed_nobody_is_asked(pg_url, tmp_path):
    config = plain_config(tmp_path)
    config = evolve(
        config,
        server=evolve(config.server, public_baseurl="https://homing.example"),
        registration=options.Registration(open=False),
    )
    async with running(pg_url, config) as server:
        app, browser = await Application.of(server), visitor(server)
        assert "prompt_values_supported" not in app.told
        await browser.open(app.request(prompt="create"))
        assert "I am new here" not in browser.text
        cookie = browser.answer.headers["Set-Cookie"]
        assert cookie.startswith("__Host-homing=")
        assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))


async def test_a_device_without_a_browser(oauth):
    alice = await oauth.register("alice")
    app, browser = await Application.of(oauth), visitor(oauth)
    begun = (await app.post("device_authorization_endpoint", scope=scope("TELEVISION"))).json
    poll = {"grant_type": DEVICE_GRANT, "device_code": begun["device_code"]}
    assert (await app.post("token_endpoint", **poll)).json["error"] == "authorization_pending"
    assert (await app.post("token_endpoint", **poll)).json["error"] == "slow_down"
    await browser.open(begun["verification_uri_complete"].removeprefix(BASE))
    await browser.press("login", name="alice", password=PASSWORD)
    assert "wants to log in as @alice:localhost on another device" in browser.text
    await browser.press("allow")
    client = app.client(await app.post("token_endpoint", **poll))
    whoami = await client.get("/v3/account/whoami")
    assert (whoami["user_id"], whoami["device_id"]) == (alice.user_id, "TELEVISION")
    assert (await app.post("token_endpoint", **poll)).json["error"] == "invalid_grant"


async def test_a_code_that_is_typed_and_refused(oauth):
    await oauth.register("alice")
    app, browser = await Application.of(oauth), visitor(oauth)
    begun = (await app.post("device_authorization_endpoint", scope=scope("TELEVISION"))).json
    await browser.open(begun["verification_uri"].removeprefix(BASE))
    await browser.press("login", name="alice", password=PASSWORD)
    await browser.press("look", user_code="BCDF-BCDF")
    assert "No login waits under this code" in browser.text
    await browser.press("look", user_code=begun["user_code"].lower().replace("-", " "))
    await browser.press("deny")
    poll = {"grant_type": DEVICE_GRANT, "device_code": begun["device_code"]}
    assert (await app.post("token_endpoint", **poll)).json["error"] == "access_denied"


async def test_device_codes_expire(oauth):
    app = await Application.of(oauth)
    begun = (await app.post("device_authorization_endpoint", scope=scope("TELEVISION"))).json
    async with oauth.database.writer() as conn:
        await conn.execute("UPDATE oauth_device_codes SET expires_ts = $1", int(time.time() * 1000))
    poll = {"grant_type": DEVICE_GRANT, "device_code": begun["device_code"]}
    assert (await app.post("token_endpoint", **poll)).json["error"] == "expired_token"
    refused = await app.post("device_authorization_endpoint", scope="openid")
    assert (refused.status, refused.json["error"]) == (400, "invalid_scope")


async def test_people_manage_their_account(oauth):
    alice = await oauth.register("alice")
    app, browser = await Application.of(oauth), visitor(oauth)
    await app.log_in(browser, "alice")
    account, other = app.path("account_management_uri"), visitor(oauth)
    await other.open(account)
    await other.press("login", name="alice", password=PASSWORD)
    assert "Your account" in other.text
    await browser.open(account)
    await browser.press("name", displayname="Alice <3")
    assert (await alice.get(f"/v3/profile/{alice.user_id}"))["displayname"] == "Alice <3"
    await browser.open(f"{account}?action=org.matrix.device_delete&device_id={alice.device_id}")
    assert "AAABBBCCCDDD" not in browser.text
    await browser.press("device")
    assert "logged out" in browser.text
    assert await alice.refused("GET", "/v3/account/whoami") == (401, "M_UNKNOWN_TOKEN")
    await browser.open(account)
    await browser.press("password", password="wrong", new="another one!", again="another one!")
    assert "This is not the password" in browser.text
    await browser.press("password", password=PASSWORD, new="another one!", again="another one!")
    await oauth.login("alice", "another one!")
    await other.open(account)
    assert "Log in to manage your account" in other.text  # a new password ends all other visits
    await browser.press("deactivate", password="another one!")
    assert "has been deactivated" in browser.text
    await browser.open(account)
    assert "Log in to manage your account" in browser.text


async def test_new_cross_signing_keys_are_allowed_in_the_browser(oauth):
    await oauth.register("alice")
    app, browser = await Application.of(oauth), visitor(oauth)
    client = app.client(await app.log_in(browser, "alice"))
    await client.post(UPLOAD, UserCrypto("@alice:localhost").upload())  # the first ones need no proof
    new = UserCrypto("@alice:localhost").upload()
    challenge = await client.ask("POST", UPLOAD, new)
    assert challenge.status == 401
    assert challenge.json["flows"][0] == {"stages": ["m.oauth"]}
    session, url = challenge.json["session"], challenge.json["params"]["m.oauth"]["url"]
    assert url == f"{BASE}{app.path('account_management_uri')}?action=org.matrix.cross_signing_reset"
    early = await client.ask("POST", UPLOAD, {**new, "auth": {"session": session}})
    assert early.status == 401
    await browser.open(url.removeprefix(BASE))
    await browser.press("reset", password=PASSWORD)
    assert "go back to your application" in browser.text
    await client.post(UPLOAD, {"auth": {"session": session}})
    found = await client.post("/v3/keys/query", {"device_keys": {"@alice:localhost": []}})
    assert found["master_keys"]["@alice:localhost"] == new["master_key"]
    # It was for once.
    third = UserCrypto("@alice:localhost").upload()
    session = (await client.ask("POST", UPLOAD, third)).json["session"]
    assert (await client.ask("POST", UPLOAD, {**third, "auth": {"session": session}})).status == 401


async def test_old_registrations_are_forgotten_unless_they_are_in_use(oauth):
    await oauth.register("alice")
    app = await Application.of(oauth)
    await app.log_in(visitor(oauth), "alice")
    idle = await Application.of(oauth, client_name="Idle")
    async with oauth.database.writer() as conn:
        await conn.execute("UPDATE oauth_clients SET used_ts = 0")
    await Application.of(oauth, client_name="New")
    assert (await app.post("token_endpoint", grant_type="refresh_token")).json["error"] == "invalid_grant"
    assert (await idle.post("token_endpoint", grant_type="refresh_token")).json["error"] == "invalid_client"
