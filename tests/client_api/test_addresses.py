"""Stories of e-mail addresses: registration, passwords forgotten, addresses added and taken off."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from attrs import define

from homeserver.app import config as options
from homeserver.app.config_people import Email, Terms
from tests.kit.mailbox import Mail, Mailbox, running_mailbox
from tests.kit.server import PASSWORD, Answer, Client, RunningServer, plain_config, running

EMAIL, TERMS = "m.login.email.identity", "m.login.terms"
BASE = "https://matrix.example.org"


@define(eq=False)
class Scene:
    server: RunningServer
    mailbox: Mailbox

    async def open(self, mail: Mail) -> None:
        """What a person does with a link: look at the page, press the button."""
        assert mail.link.startswith(BASE)
        anonymous, path = self.server.anonymous(), mail.link.removeprefix(BASE)
        shown = await anonymous.ask("GET", path)
        assert shown.status == 200
        assert "default-src 'none'" in shown.headers["Content-Security-Policy"]
        query = path.partition("?")[2]
        async with self.server.http.post(
            self.server.url + path,
            data=query,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            allow_redirects=False,
        ) as answer:
            assert answer.status in (200, 303), await answer.text()

    async def asked(self, place: str, email: str, secret: str = "s3cret", **more: Any) -> dict[str, str]:
        """The credentials of a session."""
        body = {"email": email, "client_secret": secret, "send_attempt": 1, **more}
        sid = (await self.server.anonymous().post(f"/v3/{place}/email/requestToken", body))["sid"]
        return {"sid": sid, "client_secret": secret}

    async def added(self, client: Client, email: str) -> None:
        """Add a confirmed address."""
        credentials = await self.asked("account/3pid", email)
        await self.open(await self.mailbox.next())
        auth = {"type": "m.login.password", "user": client.user_id, "password": PASSWORD}
        await client.post("/v3/account/3pid/add", {**credentials, "auth": auth})


@pytest.fixture
async def scene(pg_url: str, tmp_path: Any) -> AsyncIterator[Scene]:
    async with running_mailbox() as mailbox:
        config = plain_config(
            tmp_path,
            server=options.Server(
                name="localhost", listen="127.0.0.1:0", data=str(tmp_path), public_baseurl=BASE
            ),
            email=Email(smtp_host="127.0.0.1", smtp_port=mailbox.port, encryption="none"),
            terms=Terms(url="https://example.org/terms", version="3"),
        )
        async with running(pg_url, config) as server:
            yield Scene(server, mailbox)


async def authenticated(scene: Scene, path: str, body: dict[str, Any], **auth: Any) -> Answer:
    return await scene.server.anonymous().ask("POST", path, {**body, "auth": auth})


async def registered(scene: Scene, name: str) -> Client:
    """With terms and without an address."""
    body = {"username": name, "password": PASSWORD}
    first = await scene.server.anonymous().ask("POST", "/v3/register", body)
    session = first.json["session"]
    await authenticated(scene, "/v3/register", body, type=TERMS, session=session)
    done = await authenticated(scene, "/v3/register", body, type="m.login.dummy", session=session)
    assert done.status == 200, done.content
    return scene.server.with_token(done.json)


async def test_registration_with_terms_and_an_address(scene: Scene) -> None:
    body = {"username": "alice", "password": PASSWORD}
    asked = await scene.server.anonymous().ask("POST", "/v3/register", body)
    assert asked.status == 401
    assert [flow["stages"] for flow in asked.json["flows"]] == [[TERMS, "m.login.dummy"], [TERMS, EMAIL]]
    policies = asked.json["params"][TERMS]["policies"]["terms"]
    assert policies == {
        "version": "3",
        "en": {"name": "Terms of service", "url": "https://example.org/terms"},
    }
    session = asked.json["session"]
    agreed = await authenticated(scene, "/v3/register", body, type=TERMS, session=session)
    assert agreed.json["completed"] == [TERMS]
    credentials = await scene.asked("register", "Alice@Example.ORG", next_link="https://example.org/thanks")
    mail = await scene.mailbox.next()
    assert mail.to == "alice@example.org"
    stage = {"type": EMAIL, "session": session, "threepid_creds": credentials}
    early = await authenticated(scene, "/v3/register", body, **stage)
    assert (early.status, early.errcode) == (401, "M_THREEPID_AUTH_FAILED")
    await scene.open(mail)
    stolen = {**stage, "threepid_creds": {**credentials, "client_secret": "guessed"}}
    assert (await authenticated(scene, "/v3/register", body, **stolen)).status == 401
    done = await authenticated(scene, "/v3/register", body, **stage)
    assert done.status == 200, done.content
    alice = scene.server.with_token(done.json)
    [address] = (await alice.get("/v3/account/3pid"))["threepids"]
    assert (address["medium"], address["address"]) == ("email", "alice@example.org")
    identifier = {"type": "m.id.thirdparty", "medium": "email", "address": "ALICE@example.org"}
    login = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
    assert (await scene.server.anonymous().post("/v3/login", login))["user_id"] == alice.user_id
    old = {"medium": "email", "address": "alice@example.org", "password": PASSWORD}  # until r0.4
    by_old = await scene.server.anonymous().post("/v3/login", {"type": "m.login.password", **old})
    assert by_old["user_id"] == alice.user_id
    nobody = {**login, "identifier": {**identifier, "address": "x@example.org"}}
    assert await scene.server.anonymous().refused("POST", "/v3/login", nobody) == (403, "M_FORBIDDEN")
    again = await scene.asked("register", "alice@example.org", "other")
    warned = await scene.mailbox.next()
    assert "belongs to an account" in warned.text
    assert "http" not in warned.text
    assert again["sid"]  # who asks learns nothing


async def test_a_forgotten_password(scene: Scene) -> None:
    alice = await registered(scene, "alice")
    await scene.added(alice, "alice@example.org")
    credentials = await scene.asked("account/password", "alice@example.org")
    mail = await scene.mailbox.next()
    body = {"new_password": "another good one"}
    asked = await scene.server.anonymous().ask("POST", "/v3/account/password", body)
    assert [EMAIL] in [flow["stages"] for flow in asked.json["flows"]]
    stage = {"type": EMAIL, "session": asked.json["session"], "threepid_creds": credentials}
    assert (await authenticated(scene, "/v3/account/password", body, **stage)).status == 401
    await scene.open(mail)
    assert (await authenticated(scene, "/v3/account/password", body, **stage)).status == 200
    assert await alice.refused("GET", "/v3/account/whoami") == (401, "M_UNKNOWN_TOKEN")
    await scene.server.login(alice.user_id, "another good one")
    assert (await authenticated(scene, "/v3/account/password", body, **stage)).status == 401  # once
    await scene.asked("account/password", "nobody@example.org")
    assert "no account there" in (await scene.mailbox.next()).text


async def test_an_address_proves_its_own_account_only(scene: Scene) -> None:
    alice, bob = await registered(scene, "alice"), await registered(scene, "bob")
    await scene.added(alice, "alice@example.org")
    credentials = await scene.asked("account/password", "alice@example.org")
    await scene.open(await scene.mailbox.next())
    body = {"new_password": "another good one"}
    session = (await bob.ask("POST", "/v3/account/password", body)).json["session"]
    auth = {"type": EMAIL, "session": session, "threepid_creds": credentials}
    refused = await bob.ask("POST", "/v3/account/password", {**body, "auth": auth})
    assert refused.status in (401, 403)
    await scene.server.login(bob.user_id)
    confirmed = await scene.asked("account/3pid", "bob@example.org")
    await scene.open(await scene.mailbox.next())
    wrong_purpose = {**auth, "threepid_creds": confirmed}
    assert (await bob.ask("POST", "/v3/account/password", {**body, "auth": wrong_purpose})).status == 401


async def test_addresses_come_and_go(scene: Scene) -> None:
    alice, bob = await registered(scene, "alice"), await registered(scene, "bob")
    await scene.added(alice, "shared@example.org")
    assert "m.3pid_changes" in (await alice.get("/v3/capabilities"))["capabilities"]
    body = {"email": "Shared@example.org", "client_secret": "bobs", "send_attempt": 1}
    refused = await bob.refused("POST", "/v3/account/3pid/email/requestToken", body)
    assert refused == (400, "M_THREEPID_IN_USE")
    named = {"medium": "email", "address": "Shared@example.org"}
    assert await alice.post("/v3/account/3pid/delete", named) == {"id_server_unbind_result": "no-support"}
    assert (await alice.get("/v3/account/3pid"))["threepids"] == []
    await scene.added(bob, "shared@example.org")
    auth = {"type": "m.login.password", "user": "bob", "password": PASSWORD}
    await bob.post("/v3/account/deactivate", {"auth": auth})
    await scene.added(alice, "shared@example.org")


async def test_attempts_and_limits(scene: Scene) -> None:
    first = await scene.asked("register", "a@example.org")
    mail = await scene.mailbox.next()
    assert await scene.asked("register", "a@example.org") == first  # no second mail
    assert await scene.asked("register", "a@example.org", send_attempt=2) == first
    newer = await scene.mailbox.next()
    anonymous = scene.server.anonymous()
    outdated = await anonymous.ask("POST", mail.link.removeprefix(BASE), dict(_query(mail.link)))
    assert outdated.status == 400
    await scene.open(newer)
    for attempt in range(3, 11):
        await scene.asked("register", "a@example.org", send_attempt=attempt)
        await scene.mailbox.next()
    body = {"email": "a@example.org", "client_secret": "s3cret", "send_attempt": 11}
    path = "/v3/register/email/requestToken"
    assert await anonymous.refused("POST", path, body) == (429, "M_LIMIT_EXCEEDED")
    for change, refusal in (
        ({"email": "nonsense"}, (400, "M_INVALID_PARAM")),
        ({"email": "a@b\r\nBcc: c@d.e"}, (400, "M_INVALID_PARAM")),
        ({"email": "a b@example.org"}, (400, "M_INVALID_PARAM")),
        ({"email": "<a@example.org>"}, (400, "M_INVALID_PARAM")),
        ({"email": 7}, (400, "M_BAD_JSON")),
        ({"client_secret": "söcret"}, (400, "M_INVALID_PARAM")),
        ({"client_secret": ""}, (400, "M_INVALID_PARAM")),
        ({"send_attempt": "1"}, (400, "M_BAD_JSON")),
        ({"send_attempt": -1}, (400, "M_INVALID_PARAM")),
        ({"next_link": "javascript:alert(1)"}, (400, "M_INVALID_PARAM")),
        ({"next_link": "https://x\r\nSet-Cookie: a"}, (400, "M_INVALID_PARAM")),
        ({"email": "refused@example.org"}, (503, "M_UNKNOWN")),
    ):
        wrong = {"email": "b@example.org", "client_secret": "s3cret", "send_attempt": 1, **change}
        assert await anonymous.refused("POST", path, wrong) == refusal, change
    phone = "/v3/register/msisdn/requestToken"
    assert await anonymous.refused("POST", phone, {}) == (400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")


async def test_what_does_not_confirm(scene: Scene) -> None:
    anonymous = scene.server.anonymous()
    for body in (b"", b"{", b"[]", b'{"sid": 1}', b'{"sid": "a", "token": "b\\u0000"}', b"sid=a&token=b"):
        assert (await anonymous.ask("POST", "/_matrix/homing/confirm/email", body)).status == 400, body
    alice = await registered(scene, "alice")
    bad = {"sid": "x", "client_secret": "y"}
    auth = {"type": "m.login.password", "user": "alice", "password": PASSWORD}
    add, old = "/v3/account/3pid/add", "/v3/account/3pid"
    assert await alice.refused("POST", add, {**bad, "auth": auth}) == (400, "M_THREEPID_AUTH_FAILED")
    assert await alice.refused("POST", add, {}) == (400, "M_MISSING_PARAM")
    assert await alice.refused("POST", old, {"three_pid_creds": bad}) == (403, "M_THREEPID_AUTH_FAILED")
    assert await alice.refused("POST", old, {}) == (400, "M_MISSING_PARAM")
    bind = {**bad, "id_server": "elsewhere.example", "id_access_token": "z"}
    assert await alice.refused("POST", f"{old}/bind", bind) == (400, "M_SERVER_NOT_TRUSTED")
    for wrong in ({"medium": "fax", "address": "1"}, {"medium": "email"}, {"medium": "email", "address": 1}):
        assert (await alice.refused("POST", f"{old}/delete", wrong))[0] == 400


async def test_terms_in_a_browser(scene: Scene) -> None:
    body = {"username": "alice", "password": PASSWORD}
    anonymous = scene.server.anonymous()
    session = (await anonymous.ask("POST", "/v3/register", body)).json["session"]
    path = f"/_matrix/client/v3/auth/{TERMS}/fallback/web"
    shown = await anonymous.ask("GET", path, session=session)
    assert b"https://example.org/terms" in shown.content
    hostile = await anonymous.ask("GET", path, session='"><script>alert(1)</script>')
    assert b"<script>alert" not in hostile.content
    assert (await anonymous.ask("POST", path, {"session": session})).status == 200
    assert (await anonymous.ask("POST", path, {"session": "other"})).status == 400
    done = await authenticated(scene, "/v3/register", body, type="m.login.dummy", session=session)
    assert done.status == 200, done.content
    assert (await anonymous.ask("GET", path.replace(TERMS, "m.login.password"), session="x")).status == 404
    assert (await anonymous.ask("GET", path)).errcode == "M_MISSING_PARAM"


def _query(link: str) -> list[tuple[str, str]]:
    return [
        (name, value)
        for name, _, value in (pair.partition("=") for pair in link.partition("?")[2].split("&"))
    ]


async def test_a_link_may_be_enough(pg_url: str, tmp_path: Any) -> None:
    place = options.Server(name="localhost", listen="127.0.0.1:0", data=str(tmp_path), public_baseurl=BASE)
    async with running_mailbox() as mailbox:
        email = Email(smtp_host="127.0.0.1", smtp_port=mailbox.port, encryption="none", confirm_by_link=True)
        async with running(pg_url, plain_config(tmp_path, server=place, email=email)) as server:
            scene = Scene(server, mailbox)
            alice = await server.register("alice")
            credentials = await scene.asked("account/3pid", "alice@example.org")
            link = (await mailbox.next()).link.removeprefix(BASE)
            assert (await server.anonymous().ask("GET", link + "x")).status == 400
            assert (await server.anonymous().ask("GET", link)).status == 200
            await alice.post("/v3/account/3pid", {"three_pid_creds": credentials})
            assert (await alice.get("/v3/account/3pid"))["threepids"]
