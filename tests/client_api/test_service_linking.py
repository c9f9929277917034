"""People link login services with their account, and remove them, on its page."""

import asyncio
from urllib.parse import parse_qs, urlencode, urlsplit

import orjson
import pytest

from homeserver.services.sso import links
from tests.client_api.test_oauth_sso import browser, by_work  # noqa: F401 (a fixture)
from tests.client_api.test_sso import APP, BASE, CALLBACK, scene, services  # noqa: F401 (fixtures)
from tests.kit.server import PASSWORD
from tests.kit.visitor import Visitor

ACCOUNT = "/_matrix/homing/account"


async def enter(scene, browser, name):  # noqa: F811 (fixtures)
    """To the account's page, with a password."""
    await browser.open(ACCOUNT)
    await browser.press("login", name=name, password=PASSWORD)


async def set_out(browser, name="Work <b>", **proof):  # noqa: F811 (fixtures)
    """As far as the login service."""
    await browser.open(ACCOUNT)
    await browser.follow(f"Link {name}")
    await browser.press("link", **proof)
    assert browser.answer.status == 200, browser.text
    way = browser.answer.headers["Refresh"].removeprefix("0; url=")
    await browser.follow(f"Go on to {name}")
    assert browser.at == way


async def by_oidc(scene, browser, **proof):  # noqa: F811 (fixtures)
    await set_out(browser, **proof)
    assert "prompt=login" in browser.at
    await browser.open(f"{CALLBACK}?{urlencode(scene.services.code(browser.at))}")


async def by_cas(scene, browser, **proof):  # noqa: F811 (fixtures)
    await set_out(browser, "cas", **proof)
    asked = parse_qs(urlsplit(browser.at).query)
    assert asked["renew"] == ["true"]
    await browser.open(f"{asked['service'][0]}&ticket=ST-1")


async def test_a_login_service_is_linked_and_removed(scene, browser):  # noqa: F811 (fixtures)
    alice = await scene.server.register("alice")
    assert (await scene.by_oidc(scene.browser))[0] == 403  # the account is not the stranger's
    await enter(scene, browser, "alice")
    assert "once you have linked it" in browser.text
    await by_oidc(scene, browser, password=PASSWORD)
    assert "has been linked" in browser.text
    assert "Work <b> Alice, linked 20" in browser.text
    client = await scene.client((await scene.by_oidc(scene.browser))[1])
    assert client.user_id == alice.user_id
    await browser.follow("Remove")
    await browser.press("unlink", password="wrong")
    assert "not the password" in browser.text
    await browser.press("unlink", password=PASSWORD)
    assert "has been removed" in browser.text
    assert "Alice, linked" not in browser.text
    assert (await scene.by_oidc(scene.browser))[0] == 403
    assert (await client.get("/v3/account/whoami"))["user_id"] == alice.user_id


async def test_another_kind_of_login_service(scene, browser):  # noqa: F811 (fixtures)
    alice = await scene.server.register("anna")
    await enter(scene, browser, "anna")
    await by_cas(scene, browser, password=PASSWORD)
    assert "cas Alice, linked 20" in browser.text
    assert (await scene.client((await scene.by_cas(scene.browser))[1])).user_id == alice.user_id


async def test_nobody_links_without_the_password(scene, browser):  # noqa: F811 (fixtures)
    await scene.server.register("alice")
    await enter(scene, browser, "alice")
    await browser.follow("Link cas")
    await browser.press("link", password="wrong")
    assert (browser.answer.status, "Refresh" in browser.answer.headers) == (400, False)
    assert "not the password" in browser.text


async def test_the_last_way_in_stays(scene, browser):  # noqa: F811 (fixtures)
    """A user without a password, who came by a login service."""
    await browser.open(ACCOUNT)
    await by_work(scene, browser)
    assert "your only way in" in browser.text
    [link] = await link_numbers(scene)
    await browser.open(f"{ACCOUNT}?unlink={link}")
    await browser.press("unlink")
    assert (browser.answer.status, "could not log in any more" in browser.text) == (400, True)
    await by_cas(scene, browser)
    assert browser.text.count("Remove") == 2
    await browser.follow("Remove")
    await browser.press("unlink")
    assert "has been removed" in browser.text
    assert "your only way in" in browser.text
    assert (await scene.by_cas(scene.browser))[0] == 302


async def test_two_removals_at_once_leave_a_way_in(scene, browser):  # noqa: F811 (fixtures)
    await browser.open(ACCOUNT)
    await by_work(scene, browser)
    await by_cas(scene, browser)
    tabs = []
    for number in await link_numbers(scene):
        tab = Visitor(scene.server.url, scene.server.http, BASE, cookies=browser.cookies)
        await tab.open(f"{ACCOUNT}?unlink={number}")
        tabs.append(tab)
    await asyncio.gather(*[tab.press("unlink") for tab in tabs])
    assert len(await link_numbers(scene)) == 1


async def test_a_service_that_is_offered_no_more_is_no_way_in(scene, browser):  # noqa: F811 (fixtures)
    await browser.open(ACCOUNT)
    await by_work(scene, browser)
    async with scene.server.database.writer() as conn:
        await conn.execute(
            """
            INSERT INTO sso_links (linked_ts, user_nid, provider, subject, name)
            SELECT linked_ts, user_nid, 'gone', 'me', 'me' FROM sso_links
            """
        )
    await browser.open(ACCOUNT)
    assert "Work <b> Alice, linked" in browser.text
    assert "your only way in" in browser.text
    await browser.follow("Remove")
    assert "Who logs in at gone as me" in browser.text
    await browser.press("unlink")
    assert "has been removed" in browser.text


async def test_who_has_no_password_proves_it_by_a_fresh_login(scene, browser):  # noqa: F811 (fixtures)
    await browser.open(ACCOUNT)
    await by_work(scene, browser)
    async with scene.server.database.writer() as conn:
        await conn.execute("UPDATE web_sessions SET expires_ts = expires_ts - 700000")
    await browser.open(ACCOUNT)
    await browser.follow("Link cas")
    await browser.press("link")
    assert "log out of this page and in again first" in browser.text


async def test_what_belongs_to_another_account_is_not_linked(scene, browser):  # noqa: F811 (fixtures)
    alice = await scene.client((await scene.by_oidc(scene.browser))[1])
    await scene.server.register("mallory")
    await enter(scene, browser, "mallory")
    await by_oidc(scene, browser, password=PASSWORD)
    assert (browser.answer.status, "has another account here" in browser.text) == (403, True)
    await browser.follow("Back to your account")
    assert "once you have linked it" in browser.text
    assert (await scene.client((await scene.by_oidc(scene.browser))[1])).user_id == alice.user_id


async def test_forms_of_others_link_and_remove_nothing(scene, browser):  # noqa: F811 (fixtures)
    """Whoever makes the browser send a form does not know its key."""
    await browser.open(ACCOUNT)
    await by_work(scene, browser)
    [link] = await link_numbers(scene)
    for values in ({"step": "link", "link": "cas"}, {"step": "unlink", "unlink": str(link)}):
        await browser._ask("POST", browser.url + ACCOUNT, {**values, "key": "0" * 64})
        assert (browser.answer.status, "Refresh" in browser.answer.headers) == (400, False)


async def test_what_comes_back_links_only_in_the_visit_that_asked(scene, browser):  # noqa: F811 (fixtures)
    await scene.server.register("alice")
    await scene.server.register("mallory")
    # Mallory sets out, and leads Alice's browser to the end of that way: with her own account, nothing is linked.
    thief = Visitor(scene.server.url, scene.server.http, BASE)
    await enter(scene, thief, "mallory")
    await set_out(thief, password=PASSWORD)
    end = f"{CALLBACK}?{urlencode(scene.services.code(thief.at))}"
    await enter(scene, browser, "alice")
    await browser.open(end)
    assert (browser.answer.status, "not started in this browser" in browser.text) == (400, True)
    # Not even if he could put his cookies of that way beside hers.
    browser.cookies |= {name: value for name, value in thief.cookies.items() if name.startswith("homing_sso")}
    await browser.open(end)
    assert (browser.answer.status, "begin there again" in browser.text) == (403, True)
    assert await link_numbers(scene) == []
    # The same after logging out and in again, be it as the same user.
    await set_out(thief, password=PASSWORD)
    end = f"{CALLBACK}?{urlencode(scene.services.code(thief.at))}"
    await thief.open(ACCOUNT)
    await thief.press("leave")
    await thief.open(end)
    assert thief.answer.status == 403
    assert await link_numbers(scene) == []


async def test_a_ticket_of_somebody_else_links_nothing(scene, browser):  # noqa: F811 (fixtures)
    """CAS brings back no state: that of the way is in the address that it was asked to come back to."""
    await scene.server.register("alice")
    await enter(scene, browser, "alice")
    await set_out(browser, "cas", password=PASSWORD)
    service = parse_qs(urlsplit(browser.at).query)["service"][0]
    other = service.replace("session=", "session=x")
    await browser.open(f"{other}&ticket=ST-9")
    assert browser.answer.status == 400
    stranger = Visitor(scene.server.url, scene.server.http, BASE)
    await stranger.open(f"{service}&ticket=ST-9")
    assert stranger.answer.status == 400
    assert await link_numbers(scene) == []


async def test_codes_of_another_provider_are_not_taken(scene, browser):  # noqa: F811 (fixtures)
    """[RFC 9207]: else that one's code would be sent to this one."""
    await scene.server.register("alice")
    await enter(scene, browser, "alice")
    for iss, status in (("https://other.example", 403), (scene.services.issuer, 200)):
        await set_out(browser, password=PASSWORD)
        await browser.open(f"{CALLBACK}?{urlencode({**scene.services.code(browser.at), 'iss': iss})}")
        assert browser.answer.status == status, iss


async def test_a_provider_that_always_says_who_it_is_must(scene, browser):  # noqa: F811 (fixtures)
    names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
    document = {name: f"{scene.services.issuer}/{place}" for name, place in names.items()}
    document |= {
        "issuer": scene.services.issuer,
        "authorization_response_iss_parameter_supported": True,
    }
    place = "/oidc/.well-known/openid-configuration"
    scene.services.answers[place] = orjson.dumps(document)
    assert (await scene.by_oidc(scene.browser))[0] == 403
    way = await (back := scene.browser).sent(
        f"/_matrix/client/v3/login/sso/redirect/work?{urlencode({'redirectUrl': APP})}"
    )
    said = {**scene.services.code(way), "iss": scene.services.issuer}
    scene.services.claims = {"preferred_username": "alice", "name": "Alice A."}
    assert (await back.open(f"{CALLBACK}?{urlencode(said)}"))[0] == 302


async def test_links_are_limited(scene, browser, monkeypatch):  # noqa: F811 (fixtures)
    monkeypatch.setattr(links, "MAX_LINKS", 1)
    await scene.server.register("alice")
    await enter(scene, browser, "alice")
    await by_oidc(scene, browser, password=PASSWORD)
    await by_cas(scene, browser, password=PASSWORD)
    assert (browser.answer.status, "1 times at most" in browser.text) == (403, True)


@pytest.mark.parametrize("asked", ["unlink=0", "unlink=999", "unlink=x", "unlink=²", "link=gone", "link="])
async def test_pages_for_what_is_not_there(scene, browser, asked):  # noqa: F811 (fixtures)
    await scene.server.register("alice")
    await enter(scene, browser, "alice")
    await browser.open(f"{ACCOUNT}?{asked}")
    assert "Change" in browser.text
    step, _, value = asked.partition("=")
    key = browser.page.css_first('input[name="key"]').attributes["value"]
    given = {"step": step, step: value, "key": key, "password": PASSWORD}
    await browser._ask("POST", browser.url + ACCOUNT, given)
    assert browser.answer.status == 400


async def test_others_links_are_nobodys_business(scene, browser):  # noqa: F811 (fixtures)
    await scene.by_oidc(scene.browser)
    [link] = await link_numbers(scene)
    await scene.server.register("mallory")
    await enter(scene, browser, "mallory")
    await browser.open(f"{ACCOUNT}?unlink={link}")
    key = browser.page.css_first('input[name="key"]').attributes["value"]
    given = {"step": "unlink", "unlink": str(link), "key": key, "password": PASSWORD}
    await browser._ask("POST", browser.url + ACCOUNT, given)
    assert (browser.answer.status, "not linked with your account" in browser.text) == (400, True)
    assert await link_numbers(scene) == [link]


async def link_numbers(scene):  # noqa: F811 (fixtures)
    async with scene.server.database.read() as conn:
        return [row[0] for row in await conn.fetch("SELECT link_nid FROM sso_links ORDER BY 1")]
