"""OAuth 2.0 as applications and people meet it [cs "OAuth 2.0 API"]."""

import asyncio
import time
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from attrs import define, evolve
from structlog.testing import capture_logs

from homeserver.app import config as options
from homeserver.app.config_people import Terms
from tests.client_api.test_cross_signing import UPLOAD
from tests.kit.crypto import UserCrypto
from tests.kit.server import PASSWORD, Answer, Client, RunningServer, plain_config, running
from tests.kit.visitor import Visitor

BASE = "http://homing.example"
REDIRECT = "https://app.example.com/callback"
VERIFIER = "ogie4iVaeteeKeeLaid0aizuimairaCh-" * 2
CHALLENGE = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
METADATA = {
    "client_name": "My <App>",
    "client_uri": "https://example.com/",
    "redirect_uris": [REDIRECT],
    "grant_types": ["authorization_code", "refresh_token", DEVICE_GRANT],
}


def scope(device_id: str) -> str:
    return f"urn:matrix:client:api:* urn:matrix:client:device:{device_id}"


@define(eq=False)
class Application:
    """A client that speaks OAuth."""

    server: RunningServer
    client_id: str
    told: dict[str, str]  # the metadata

    @classmethod
    async def of(cls, server: RunningServer, **metadata: Any) -> "Application":
        told = await server.anonymous().get("/v1/auth_metadata")
        base = server.config.server.public_baseurl
        path = told["registration_endpoint"].removeprefix(base)
        answer = await server.anonymous().ask("POST", path, {**METADATA, **metadata})
        assert answer.status == 201, answer.content
        return cls(server, answer.json["client_id"], told)

    def request(self, device_id: str = "AAABBBCCCDDD", **change: str) -> str:
        """Where it leads its user."""
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": REDIRECT,
            "scope": scope(device_id),
            "state": "s t",
            "response_mode": "fragment",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        return f"{self.path('authorization_endpoint')}?{urlencode({**asked, **change})}"

    def path(self, name: str) -> str:
        return self.told[name].removeprefix(self.server.config.server.public_baseurl)

    async def post(self, name: str, **values: str) -> Answer:
        """A form to one of the endpoints."""
        given = {"client_id": self.client_id, **values}
        url = self.server.url + self.path(name)
        async with self.server.http.post(url, data=given) as response:
            return Answer(response.status, response.headers, await response.read())

    async def exchange(self, code: str, **change: str) -> Answer:
        given = {"code": code, "redirect_uri": REDIRECT, "code_verifier": VERIFIER, **change}
        return await self.post("token_endpoint", **{"grant_type": "authorization_code", **given})

    def client(self, answer: Answer) -> Client:
        assert answer.status == 200, answer.content
        return Client(self.server.url, self.server.http, token=answer.json["access_token"])

    async def log_in(self, visitor: Visitor, name: str, device_id: str = "AAABBBCCCDDD") -> Answer:
        """The whole way."""
        await visitor.open(self.request(device_id))
        await visitor.press("login", name=name, password=PASSWORD)
        await visitor.press("allow")
        return await self.exchange(led(visitor)["code"])


def led(visitor: Visitor) -> dict[str, str]:
    """What the application is told in the fragment."""
    address, _, told = visitor.at.partition("#")
    assert address == REDIRECT
    return dict(parse_qsl(told))


@pytest.fixture
async def oauth(pg_url, tmp_path):
    """A server that knows where it is."""
    config = plain_config(tmp_path)
    config = evolve(config, server=evolve(config.server, public_baseurl=BASE))
    async with running(pg_url, config) as server:
        yield server


def visitor(server: RunningServer) -> Visitor:
    return Visitor(server.url, server.http)


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


async def test_tokens_are_refreshed_and_revoked(oauth):
    await oauth.register("alice")
    app = await Application.of(oauth)
    first = (await app.log_in(visitor(oauth), "alice")).json
    refreshed = await app.post(
        "token_endpoint", grant_type="refresh_token", refresh_token=first["refresh_token"]
    )
    # The answer may have been lost: the old one is good until the new one is used.
    refreshed = await app.post(
        "token_endpoint", grant_type="refresh_token", refresh_token=first["refresh_token"]
    )
    client = app.client(refreshed)
    assert refreshed.json["scope"] == scope("AAABBBCCCDDD")
    await client.get("/v3/account/whoami")
    old = Client(oauth.url, oauth.http, token=first["access_token"])
    assert await old.refused("GET", "/v3/account/whoami") == (401, "M_UNKNOWN_TOKEN")
    # It is not good for another client, or as if it were none of OAuth's.
    other = await Application.of(oauth, client_name="Other")
    stolen = await other.post(
        "token_endpoint", grant_type="refresh_token", refresh_token=refreshed.json["refresh_token"]
    )
    assert stolen.json["error"] == "invalid_grant"
    legacy = {"refresh_token": refreshed.json["refresh_token"]}
    assert (await oauth.anonymous().refused("POST", "/v3/refresh", legacy))[1] == "M_UNKNOWN_TOKEN"
    for _ in range(2):
        assert (await app.post("revocation_endpoint", token=refreshed.json["refresh_token"])).status == 200
    assert await client.refused("GET", "/v3/account/whoami") == (401, "M_UNKNOWN_TOKEN")


async def lines(oauth):
    """An application of Alice's that is logged in, how it refreshes, and how one sees whether tokens are good."""
    await oauth.register("alice")
    app = await Application.of(oauth)

    async def refresh(tokens):
        given = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        return (await app.post("token_endpoint", **given)).json

    async def status(tokens):
        return (await Client(oauth.url, oauth.http, token=tokens["access_token"]).ask("GET", WHOAMI)).status

    return (await app.log_in(visitor(oauth), "alice")).json, refresh, status


WHOAMI = "/v3/account/whoami"


@pytest.mark.parametrize("used", ["its access token", "its refresh token"])
async def test_a_refresh_token_that_comes_again_ends_the_session(oauth, used):
    """[RFC 9700 4.14.2]"""
    first, refresh, status = await lines(oauth)
    second = await refresh(first)
    latest = second
    if used == "its access token":
        assert await status(second) == 200
    else:
        latest = await refresh(second)
    with capture_logs() as told:
        assert (await refresh(first))["error"] == "invalid_grant"
    [warning] = [each for each in told if each["log_level"] == "warning"]
    assert (warning["user"], warning["device"]) == ("@alice:localhost", "AAABBBCCCDDD")
    assert [await status(each) for each in (second, latest)] == [401, 401]
    assert (await refresh(latest))["error"] == "invalid_grant"
    async with oauth.database.read() as conn:
        assert await conn.fetchval("SELECT count(*) FROM devices WHERE device_id = 'AAABBBCCCDDD'") == 0


async def test_lost_answers_end_no_session(oauth):
    first, refresh, status = await lines(oauth)
    lost = await refresh(first)
    found = await refresh(first)
    assert (await refresh(lost))["error"] == "invalid_grant"  # never used: the client just did not get it
    assert await status(found) == 200
    assert await status(await refresh(found)) == 200


async def test_refreshes_at_once_leave_one_line_and_end_no_session(oauth):
    first, refresh, status = await lines(oauth)
    answers = await asyncio.gather(*[refresh(first) for _ in range(4)])
    assert sorted([await status(each) for each in answers]) == [200, 401, 401, 401]
    [good] = [each for each in answers if await status(each) == 200]
    for each in answers:
        if each is not good:
            assert (await refresh(each))["error"] == "invalid_grant"
    assert await status(await refresh(good)) == 200


async def test_old_and_new_refresh_tokens_at_once(oauth):
    """Each of them wants what the other holds; whoever is first wins, and both are answered."""
    first, refresh, status = await lines(oauth)
    for _ in range(5):
        second = await refresh(first)
        by_old, by_new = await asyncio.gather(refresh(first), refresh(second))
        if "access_token" in by_new:  # so the old one came too late
            assert by_old["error"] == "invalid_grant"
            assert await status(by_new) == 401
            break
        assert by_new["error"] == "invalid_grant"
        assert await status(second) == 401
        first = by_old


@pytest.mark.parametrize(
    "change", [".", ".x", ".1", ".1.", ".99.x", ".²2.x", f".{10**18}.x", "\u00e9", ".1.2.3"]
)
async def test_refresh_tokens_that_nobody_made(oauth, change):
    first, refresh, status = await lines(oauth)
    for token in (f"homr_{change}", first["refresh_token"] + change):
        assert (await refresh({"refresh_token": token}))["error"] == "invalid_grant"
    assert await status(first) == 200


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
