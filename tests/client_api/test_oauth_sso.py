"""Our own pages, where people log in by a login service."""

from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.client_api.test_sso import BASE, CALLBACK, scene, services  # noqa: F401 (fixtures)
from tests.kit.oauth import Application, led
from tests.kit.visitor import Visitor


@pytest.fixture
def browser(scene):  # noqa: F811 (a fixture)
    return Visitor(scene.server.url, scene.server.http, BASE)


async def by_work(scene, browser):  # noqa: F811 (a fixture)
    """Take the link to the login service, and come back from there."""
    link = next(one for one in browser.page.css("a") if one.text() == "Work <b>")
    await browser.open(link.attributes["href"])
    await browser.open(f"{CALLBACK}?{urlencode(scene.services.code(browser.at))}")


async def test_a_login_service_leads_to_consent(scene, browser):  # noqa: F811 (a fixture)
    app = await Application.of(scene.server)
    await browser.open(app.request())
    await by_work(scene, browser)
    assert "wants to use your account" in browser.text
    assert "loginToken" not in browser.at
    assert "way_back" not in browser.at
    await browser.press("allow")
    client = app.client(await app.exchange(led(browser)["code"]))
    assert (await client.get("/v3/account/whoami"))["device_id"] == "AAABBBCCCDDD"


async def test_who_has_no_password_confirms_by_a_fresh_login(scene, browser):  # noqa: F811 (a fixture)
    app = await Application.of(scene.server)
    await browser.open(app.path("account_management_uri"))
    await by_work(scene, browser)
    assert "Your account" in browser.text
    assert "New password" not in browser.text
    await browser.press("reset")
    assert "go back to your application" in browser.text
    async with scene.server.database.writer() as conn:
        await conn.execute("UPDATE web_sessions SET expires_ts = expires_ts - 700000")
    await browser.press("deactivate")
    assert "log out of this page and in again first" in browser.text
    await browser.press("leave")
    await by_work(scene, browser)
    await browser.press("deactivate")
    assert "has been deactivated" in browser.text


async def test_nobody_is_logged_in_by_a_link_of_somebody_else(scene, browser):  # noqa: F811 (a fixture)
    """A login token of the attacker's own account, in a link: who opens it would act in the attacker's account."""
    app = await Application.of(scene.server)
    thief = Visitor(scene.server.url, scene.server.http, BASE)
    await thief.open(app.path("account_management_uri"))
    link = next(one for one in thief.page.css("a") if one.text() == "Work <b>")
    await thief.open(link.attributes["href"])
    back = parse_qs(urlsplit(thief.at).query)
    assert back["state"]
    # The way back is bound to the browser that set out, by a cookie.
    await browser.open(f"{CALLBACK}?{urlencode(scene.services.code(thief.at))}")
    assert browser.answer.status == 400
    # And so is what our page makes of a token.
    way = f"{app.path('account_management_uri')}?loginToken=stolen&way_back={'0' * 64}"
    await browser.open(way)
    assert "Log in to manage your account" in browser.text
