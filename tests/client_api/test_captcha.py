"""Registration with a captcha [cs "Google ReCaptcha"], whose service is a small server beside us."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from attrs import define, field

from homeserver.app.config_people import Captcha
from tests.kit.server import PASSWORD, RunningServer, plain_config, running

PAGE = "/_matrix/client/v3/auth/m.login.recaptcha/fallback/web"


@define(eq=False)
class Service:
    """Believes who says "human"; `broken` is what it answers instead."""

    url: str = ""
    asked: list[dict[str, Any]] = field(factory=list)
    broken: bytes | None = None

    async def handle(self, request: web.BaseRequest) -> web.Response:
        form = dict(await request.post())
        self.asked.append(form)
        if self.broken is not None:
            return web.Response(body=self.broken)
        return web.json_response({"success": form["response"] == "human", "error-codes": []})


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    runner = web.ServerRunner(web.Server(service.handle))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        service.url = f"http://127.0.0.1:{runner.addresses[0][1]}/siteverify"
        yield service
    finally:
        await runner.cleanup()


@pytest.fixture
async def server(pg_url: str, tmp_path: Path, service: Service) -> AsyncIterator[RunningServer]:
    (tmp_path / "captcha").write_text("between us")
    captcha = Captcha(public_key="site", private_key_file="captcha", verify_url=service.url)
    async with running(pg_url, plain_config(tmp_path, captcha=captcha)) as found:
        yield found


async def test_only_humans_register(server: RunningServer, service: Service) -> None:
    client, body = server.anonymous(), {"username": "alice", "password": PASSWORD}
    told = (await client.ask("POST", "/v3/register", body)).json
    assert told["flows"] == [{"stages": ["m.login.recaptcha"]}]
    assert told["params"]["m.login.recaptcha"] == {"public_key": "site"}
    auth = {"type": "m.login.recaptcha", "session": told["session"]}

    async def refusal(**more: Any) -> tuple[int, str | None]:
        return await client.refused("POST", "/v3/register", {**body, "auth": {**auth, **more}})

    assert await refusal() == (401, "M_MISSING_PARAM")
    assert await refusal(response="robot") == (401, "M_FORBIDDEN")
    for service.broken in (b"oops", b"[]", b'{"success":"true"}', b'{"x":{"success":true}}'):
        assert (await refusal(response="human"))[0] == 401
    service.broken = None
    done = await client.post("/v3/register", {**body, "auth": {**auth, "response": "human"}})
    assert done["user_id"] == "@alice:localhost"
    assert service.asked[-1] == {"secret": "between us", "response": "human", "remoteip": "127.0.0.1"}


async def test_the_page_for_clients_that_know_no_captchas(server: RunningServer) -> None:
    client, body = server.anonymous(), {"username": "alice", "password": PASSWORD}
    session = (await client.ask("POST", "/v3/register", body)).json["session"]
    shown = await client.ask("GET", PAGE, session=session)
    assert b'data-sitekey="site"' in shown.content
    form = {"session": session, "g-recaptcha-response": "robot"}
    assert (await client.ask("POST", PAGE, form)).status == 403
    assert (await client.ask("POST", PAGE, {**form, "g-recaptcha-response": "human"})).status == 200
    await client.post("/v3/register", {"auth": {"session": session}})


async def test_who_is_not_asked_may_prove_it_all_the_same(
    pg_url: str, tmp_path: Path, service: Service
) -> None:
    (tmp_path / "captcha").write_text("between us")
    captcha = Captcha("site", "captcha", service.url, required=False)
    async with running(pg_url, plain_config(tmp_path, captcha=captcha)) as server:
        client, body = server.anonymous(), {"username": "alice", "password": PASSWORD}
        auth = {"type": "m.login.recaptcha", "response": "human"}
        told = (await client.ask("POST", "/v3/register", {**body, "auth": auth})).json
        assert (told["completed"], told["flows"]) == (["m.login.recaptcha"], [{"stages": ["m.login.dummy"]}])
        assert "errcode" not in told
        auth = {"type": "m.login.dummy", "session": told["session"]}
        done = await client.post("/v3/register", {**body, "auth": auth})
        assert done["user_id"] == "@alice:localhost"
        extra = {"auth": {"type": "m.login.password", "password": PASSWORD, "user": "alice"}}
        assert await client.refused("POST", "/v3/register", {**body, "username": "bob", **extra}) == (
            401,
            "M_FORBIDDEN",
        )
