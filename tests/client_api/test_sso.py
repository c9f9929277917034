"""Single sign-on: stories of browsers, with a CAS server and an OpenID Connect provider beside us."""

import html
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from attrs import define, evolve, field

from homeserver.app import config as options
from homeserver.app.config_sso import Sso, SsoProvider
from tests.kit.login_services import CLIENT_ID, SECRET, LoginServices, login_services
from tests.kit.server import PASSWORD, Client, RunningServer, plain_config, running

BASE = "http://matrix.example.org"
APP, STRANGER = "https://app.example.org/", "https://stranger.example.org/?keep=a%20b"
CALLBACK = "/_matrix/homing/sso/callback"
TICKET = "/_matrix/client/r0/login/cas/ticket"


@define(eq=False)
class Browser:
    """Keeps cookies, follows nothing by itself."""

    server: RunningServer
    cookies: dict[str, str] = field(factory=dict)

    async def open(self, target: str) -> tuple[int, str, str]:
        """Status, where it is sent, and the page."""
        target = target.removeprefix(BASE)
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        async with self.server.http.get(
            self.server.url + target, headers=headers, allow_redirects=False
        ) as answer:
            for line in answer.headers.getall("Set-Cookie", []):
                assert "HttpOnly; SameSite=Lax" in line
                name, _, value = line.partition(";")[0].partition("=")
                self.cookies[name] = value
            return answer.status, answer.headers.get("Location", ""), await answer.text()

    async def sent(self, target: str) -> str:
        status, place, shown = await self.open(target)
        assert status == 302, shown
        return place


@define(eq=False)
class Scene:
    server: RunningServer
    services: LoginServices

    @property
    def browser(self) -> Browser:
        return Browser(self.server)

    async def by_oidc(self, browser: Browser, client: str = APP) -> tuple[int, str, str]:
        """Log in to a client."""
        start = "/_matrix/client/v3/login/sso/redirect/work?" + urlencode({"redirectUrl": client})
        way = await browser.sent(start)
        assert way.startswith(f"{self.services.issuer}/authorize?")
        return await browser.open(f"{CALLBACK}?{urlencode(self.services.code(way))}")

    async def by_cas(self, browser: Browser, client: str = APP) -> tuple[int, str, str]:
        way = await browser.sent(
            "/_matrix/client/v3/login/cas/redirect?" + urlencode({"redirectUrl": client})
        )
        assert way.startswith(f"{self.services.url}/cas/login?")
        service = parse_qs(urlsplit(way).query)["service"][0]
        return await browser.open(f"{service}&ticket=ST-1")

    async def client(self, place: str) -> Client:
        """What the client that a browser came back to does."""
        token = parse_qs(urlsplit(place).query)["loginToken"][0]
        body = {"type": "m.login.token", "token": token}
        return self.server.with_token(await self.server.anonymous().post("/v3/login", body))


def providers(services: LoginServices, tmp_path: Path) -> list[SsoProvider]:
    (tmp_path / "oidc_secret").write_text(SECRET)
    work = SsoProvider(
        id="work",
        name="Work <b>",
        url=services.issuer,
        client_id=CLIENT_ID,
        client_secret_file="oidc_secret",
        brand="org.example",
    )
    return [work, SsoProvider(id="cas", kind="cas", url=f"{services.url}/cas")]


@pytest.fixture
async def services() -> AsyncIterator[LoginServices]:
    async with login_services() as found:
        yield found


@pytest.fixture
async def scene(pg_url: str, tmp_path: Path, services: LoginServices) -> AsyncIterator[Scene]:
    async with started(pg_url, tmp_path, services) as found:
        yield found


def started(pg_url: str, tmp_path: Path, services: LoginServices, **changes: Any) -> Any:
    offered = [evolve(one, **changes) for one in providers(services, tmp_path)]
    server = options.Server(name="localhost", listen="127.0.0.1:0", data=str(tmp_path), public_baseurl=BASE)
    config = plain_config(tmp_path, server=server, sso=Sso(clients=[APP], providers=offered))
    return _Started(running(pg_url, config), services)


@define(eq=False)
class _Started:
    inner: Any
    services: LoginServices

    async def __aenter__(self) -> Scene:
        return Scene(await self.inner.__aenter__(), self.services)

    async def __aexit__(self, *raised: object) -> Any:
        return await self.inner.__aexit__(*raised)


async def test_clients_are_told_how(scene: Scene) -> None:
    flows = (await scene.server.anonymous().get("/v3/login"))["flows"]
    [told] = [flow for flow in flows if flow["type"] == "m.login.sso"]
    work = {"id": "work", "name": "Work <b>", "brand": "org.example"}
    assert told["identity_providers"] == [work, {"id": "cas", "name": "cas"}]
    assert {"type": "m.login.cas"} in flows


async def test_a_new_user_comes_by_openid_connect(scene: Scene) -> None:
    status, place, _ = await scene.by_oidc(scene.browser)
    assert (status, place.partition("?")[0]) == (302, APP)
    alice = await scene.client(place)
    assert alice.user_id == "@alice:localhost"
    assert (await alice.get(f"/v3/profile/{alice.user_id}"))["displayname"] == "Alice A."
    scene.services.person["preferred_username"] = "renamed"  # the subject counts, not the name
    again = await scene.client((await scene.by_oidc(scene.browser))[1])
    assert again.user_id == alice.user_id


async def test_a_new_user_comes_by_cas(scene: Scene) -> None:
    status, place, _ = await scene.by_cas(scene.browser)
    assert status == 302
    alice = await scene.client(place)
    assert (alice.user_id, scene.services.asked[0]["path"]) == ("@alice:localhost", "/cas/p3/serviceValidate")
    assert scene.services.asked[0]["service"] == f"{BASE}{TICKET}?" + urlencode({"redirectUrl": APP})
    assert (await alice.get(f"/v3/profile/{alice.user_id}"))["displayname"] == "Alice A."


async def test_names_are_mapped_to_the_letters_of_user_ids(scene: Scene) -> None:
    scene.services.person["preferred_username"] = "Zoë K@x"
    client = await scene.client((await scene.by_oidc(scene.browser))[1])
    assert client.user_id == "@zo=c3=ab=20k=40x:localhost"


async def test_people_are_asked_about_other_clients(scene: Scene) -> None:
    for shown in (
        (await scene.by_oidc(scene.browser, STRANGER)),
        (await scene.by_oidc(scene.browser, "https://app.example.org.evil.example/")),
        (await scene.by_oidc(scene.browser, "https://app.example.org:8443/")),
    ):
        assert shown[0] == 200
        assert "as @alice:localhost?" in shown[2]
    _, _, page = await scene.by_oidc(scene.browser, STRANGER)
    [link] = re.findall('href="([^"]+)"', page)
    place = html.unescape(link)
    assert place.startswith("https://stranger.example.org/?keep=a%20b&loginToken=")
    assert (await scene.client(place)).user_id == "@alice:localhost"
    # A ticket in a browser that did not set out: the client is known, but who is at the browser did not ask for it.
    service = f"{TICKET}?{urlencode({'redirectUrl': APP, 'ticket': 'ST-2'})}"
    scene.services.person["preferred_username"] = "bob"
    status, _, page = await scene.browser.open(service)
    assert (status, "as @bob:localhost?" in page) == (200, True)


NO_CLIENTS = "javascript:alert(1)|data:text/html,x|//x.example/|https://u@x.example/|https://|nothing|a b:c"


async def test_where_no_client_can_be(scene: Scene) -> None:
    for url in NO_CLIENTS.split("|"):
        for path in ("/v3/login/sso/redirect/work", "/v3/login/cas/redirect"):
            answer = await scene.server.anonymous().refused("GET", path, redirectUrl=url)
            assert answer == (400, "M_INVALID_PARAM"), url
        back = f"{TICKET}?{urlencode({'redirectUrl': url, 'ticket': 'x'})}"
        assert (await scene.browser.open(back))[0] == 400, url


async def test_which_service(scene: Scene) -> None:
    asked = urlencode({"redirectUrl": APP})
    status, _, page = await scene.browser.open(f"/_matrix/client/v3/login/sso/redirect?{asked}")
    assert (status, "Work &lt;b&gt;" in page) == (200, True)
    links = [html.unescape(link) for link in re.findall('href="([^"]+)"', page)]
    assert [urlsplit(link).path.rpartition("/")[2] for link in links] == ["work", "cas"]
    assert (await scene.browser.sent(links[1])).startswith(f"{scene.services.url}/cas/login?")
    refusal = await scene.server.anonymous().refused("GET", "/v3/login/sso/redirect/x", redirectUrl=APP)
    assert refusal == (404, "M_NOT_FOUND")
    assert await scene.server.anonymous().refused("GET", "/v3/login/sso/redirect") == (400, "M_MISSING_PARAM")


async def test_a_login_ends_in_the_browser_that_began_it(scene: Scene) -> None:
    victim, attacker = scene.browser, scene.browser
    start = "/_matrix/client/v3/login/sso/redirect/work?" + urlencode({"redirectUrl": APP})
    back = scene.services.code(await attacker.sent(start))
    status, place, page = await victim.open(f"{CALLBACK}?{urlencode(back)}")
    assert (status, place) == (400, "")
    assert "not started in this browser" in page
    await victim.sent(start)
    assert (await victim.open(f"{CALLBACK}?{urlencode(back)}"))[0] == 400
    wrong = {**back, "state": back["state"] + "x"}
    assert (await attacker.open(f"{CALLBACK}?{urlencode(wrong)}"))[0] == 400
    refused = {"error": "access_denied", "state": back["state"]}
    assert (await attacker.open(f"{CALLBACK}?{urlencode(refused)}"))[0] == 403


CLAIMS: list[dict[str, Any]] = [
    {"iss": "https://other.example"},
    {"aud": "other"},
    {"aud": [CLIENT_ID, "other"]},
    {"azp": "other"},
    {"exp": 1},
    {"exp": None},
    {"nonce": "other"},
    {"nonce": None},
    {"sub": 7},
    {"sub": "a\0b"},
    {"sub": None},
]


async def test_id_tokens_that_are_not_for_us(scene: Scene) -> None:
    for claims in CLAIMS:
        scene.services.claims = claims
        assert (await scene.by_oidc(scene.browser))[:2] == (403, ""), claims


async def test_id_tokens_of_others(scene: Scene) -> None:
    assert (await scene.by_oidc(scene.browser))[0] == 302
    scene.services.key = LoginServices().key  # not the one that it told
    assert (await scene.by_oidc(scene.browser))[0] == 403


NONSENSE = [  # those first that keep us from knowing the provider
    ("/.well-known/openid-configuration", b"{}", 503),
    ("/.well-known/openid-configuration", b"x" * 300_000, 503),
    ("/keys", b"[]", 503),
    ("/token", b"not JSON", 503),
    ("/token", b'{"id_token":"a.b.c"}', 403),
    ("/token", b'{"id_token":"eyJhbGciOiJub25lIn0.e30."}', 403),
    ("/userinfo", b'{"sub":"8"}', 403),
]


async def test_providers_that_talk_nonsense(scene: Scene) -> None:
    for place, answer, expected in NONSENSE:
        scene.services.answers = {f"/oidc{place}": answer}
        browser = scene.browser
        start = "/_matrix/client/v3/login/sso/redirect/work?" + urlencode({"redirectUrl": APP})
        status, way, _ = await browser.open(start)
        if status == 302:
            status, _, _ = await browser.open(f"{CALLBACK}?{urlencode(scene.services.code(way))}")
        assert status == expected, (place, answer)


async def test_keys_that_are_of_no_use(scene: Scene) -> None:
    scene.services.answers["/oidc/keys"] = b'{"keys":[{"kty":"RSA","n":7},8]}'
    assert (await scene.by_oidc(scene.browser))[0] == 403


XML = "<s:serviceResponse xmlns:s='http://www.yale.edu/tp/cas'>{}</s:serviceResponse>"


NOBODY = [
    "",
    "no",
    "<a/>",
    XML.format(""),
    XML.format("<s:authenticationFailure code='X'>no such ticket</s:authenticationFailure>"),
    XML.format("<s:authenticationSuccess/>"),
    XML.format("<s:authenticationSuccess><s:user>a</s:user><s:user>b</s:user></s:authenticationSuccess>"),
    XML.format(
        "<authenticationFailure><s:authenticationSuccess><s:user>a</s:user></s:authenticationSuccess></authenticationFailure>"
    ),
    XML.format("<x:authenticationSuccess xmlns:x='other'><x:user>a</x:user></x:authenticationSuccess>"),
    "<!DOCTYPE a [<!ENTITY b 'c'>]>"
    + XML.format("<s:authenticationSuccess><s:user>&b;</s:user></s:authenticationSuccess>"),
    XML.format(
        "<s:authenticationSuccess><s:user>a</s:user>" + "<s:x/>" * 2000 + "</s:authenticationSuccess>"
    ),
]


async def test_cas_servers_that_confirm_nothing(scene: Scene) -> None:
    for answer in NOBODY:
        scene.services.answers["/cas/p3/serviceValidate"] = answer.encode()
        assert (await scene.by_cas(scene.browser))[0] == 403, answer


async def test_accounts_are_not_taken_over(scene: Scene, pg_url: str, tmp_path: Path) -> None:
    await scene.server.register("alice")
    status, _, page = await scene.by_oidc(scene.browser)
    assert (status, "is an account here already" in page) == (403, True)
    scene.services.person["preferred_username"] = ""
    assert (await scene.by_oidc(scene.browser))[0] == 403


async def test_accounts_are_taken_over_where_the_operator_says_so(
    pg_url: str, tmp_path: Path, services: LoginServices
) -> None:
    async with started(pg_url, tmp_path, services, existing_accounts=True, new_accounts=False) as scene:
        alice = await scene.server.register("alice")
        client = await scene.client((await scene.by_oidc(scene.browser))[1])
        assert client.user_id == alice.user_id
        auth = {"type": "m.login.password", "user": "alice", "password": PASSWORD}
        await alice.post("/v3/account/deactivate", {"auth": auth})
        assert (await scene.by_oidc(scene.browser))[0] == 403
        services.person |= {"sub": "8", "preferred_username": "bob"}
        assert (await scene.by_oidc(scene.browser))[0] == 403


async def again(
    scene: Scene, session: str, number: int, browser: Browser | None = None
) -> tuple[int, str, str]:
    """Prove it again, with the provider of this number."""
    browser = browser or scene.browser
    _, _, page = await browser.open(f"/_matrix/client/v3/auth/m.login.sso/fallback/web?session={session}")
    link = html.unescape(re.findall('href="([^"]+)"', page)[number])
    way = await browser.sent(link)
    if number:
        asked = parse_qs(urlsplit(way).query)
        assert asked["renew"] == ["true"]
        return await browser.open(f"{asked['service'][0]}&ticket=ST-3")
    assert "prompt=login" in way
    return await browser.open(f"{CALLBACK}?{urlencode(scene.services.code(way))}")


async def test_who_has_no_password_proves_it_by_logging_in_again(scene: Scene) -> None:
    for number, log_in in enumerate((scene.by_oidc, scene.by_cas)):
        scene.services.person["preferred_username"] = f"user{number}"
        client = await scene.client((await log_in(scene.browser))[1])
        devices = {"devices": [client.device_id]}
        asked = await client.ask("POST", "/v3/delete_devices", devices)
        assert (asked.status, asked.json["flows"]) == (401, [{"stages": ["m.login.sso"]}])
        session = asked.json["session"]
        status, _, page = await again(scene, session, number)
        assert (status, "onAuthDone" in page) == (200, True)
        await client.post("/v3/delete_devices", {**devices, "auth": {"session": session}})
        assert await client.refused("GET", "/v3/devices") == (401, "M_UNKNOWN_TOKEN")


async def test_only_the_user_who_asks_can_prove_it(scene: Scene) -> None:
    alice = await scene.client((await scene.by_oidc(scene.browser))[1])
    devices = {"devices": [alice.device_id]}
    session = (await alice.ask("POST", "/v3/delete_devices", devices)).json["session"]
    scene.services.person = {"sub": "8", "preferred_username": "bob", "name": "Bob"}
    status, _, page = await again(scene, session, 0)
    assert (status, "none are made" in page) == (200, True)  # nobody gets an account this way
    asked = {**devices, "auth": {"session": session}}
    assert await alice.refused("POST", "/v3/delete_devices", asked) == (403, "M_FORBIDDEN")
    await scene.by_oidc(scene.browser)
    assert (await again(scene, session, 0))[0] == 200
    assert await alice.refused("POST", "/v3/delete_devices", asked) == (403, "M_FORBIDDEN")
    assert len((await alice.get("/v3/devices"))["devices"]) == 1


async def test_nobody_is_led_past_the_question(scene: Scene) -> None:
    browser, page = scene.browser, "/_matrix/client/v3/auth/m.login.sso/fallback/web?session=s"
    await browser.open(page)
    for led in ("&provider=work", "&provider=work&state=guessed"):
        status, place, shown = await browser.open(page + led)
        assert (status, place) == (200, "")
        assert "wants to change your account" in shown


async def test_a_session_that_is_over(scene: Scene) -> None:
    await scene.by_oidc(scene.browser)
    assert (await again(scene, "unknown", 0))[0] == 400


async def test_who_has_a_password_may_use_it(pg_url: str, tmp_path: Path, services: LoginServices) -> None:
    async with started(pg_url, tmp_path, services, existing_accounts=True) as scene:
        alice = await scene.server.register("alice")
        devices = {"devices": [alice.device_id]}
        asked = await alice.ask("POST", "/v3/delete_devices", devices)
        assert asked.json["flows"] == [{"stages": ["m.login.password"]}]
        await scene.by_oidc(scene.browser)
        asked = await alice.ask("POST", "/v3/delete_devices", devices)
        assert asked.json["flows"] == [{"stages": ["m.login.password"]}, {"stages": ["m.login.sso"]}]
        session = asked.json["session"]
        auth = {"type": "m.login.password", "user": "alice", "password": PASSWORD, "session": session}
        await alice.post("/v3/delete_devices", {**devices, "auth": auth})


async def test_without_login_services_there_is_no_way_to_one(server: RunningServer) -> None:
    for path in ("/v3/login/sso/redirect", "/v3/login/sso/redirect/work"):
        refused = await server.anonymous().refused("GET", path, redirectUrl=APP)
        assert refused == (404, "M_NOT_FOUND")
    flows = (await server.anonymous().get("/v3/login"))["flows"]
    assert "m.login.sso" not in {flow["type"] for flow in flows}
