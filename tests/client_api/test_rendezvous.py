"""Two devices meet before one of them is logged in [MSC4108]."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from homeserver.app import config as options
from homeserver.services import rendezvous as service
from homeserver.services.rendezvous import Rendezvous
from tests.kit.server import RunningServer, plain_config, running

PATH = "/_matrix/client/unstable/org.matrix.msc4108/rendezvous"
BASE = "https://matrix.example.org"
TEXT = {"Content-Type": "text/plain"}


@pytest.fixture
async def server(pg_url: str, tmp_path: Path) -> AsyncIterator[RunningServer]:
    place = options.Server(
        name="localhost", listen="127.0.0.1:0", data=str(tmp_path), public_baseurl=f"{BASE}/"
    )
    async with running(pg_url, plain_config(tmp_path, server=place)) as server:
        yield server


async def begun(server: RunningServer, content: bytes = b"first") -> tuple[str, str]:
    """A place's URL here, and the tag of what stands there."""
    async with server.http.post(f"{server.url}{PATH}", data=content, headers=TEXT) as answer:
        assert answer.status == 201, await answer.text()
        url = (await answer.json())["url"]
        assert url.startswith(f"{BASE}{PATH}/")
        assert answer.headers["Expires"].endswith("GMT")
        return server.url + url.removeprefix(BASE), answer.headers["ETag"]


async def asked(server: RunningServer, method: str, url: str, **more) -> tuple[int, bytes, str | None]:
    async with server.http.request(method, url, **more) as answer:
        content = await answer.read()
        if answer.status == 200:
            assert answer.headers["Content-Type"] == "text/plain"  # which clients compare with
            assert answer.headers["Cache-Control"] == "no-store, no-transform"
        return answer.status, content, answer.headers.get("ETag")


async def test_two_devices_leave_messages_for_each_other(server: RunningServer) -> None:
    url, tag = await begun(server)
    assert await asked(server, "GET", url) == (200, b"first", tag)
    assert (await asked(server, "GET", url, headers={"If-None-Match": tag}))[0] == 304
    status, _, second = await asked(server, "PUT", url, data=b"second", headers={**TEXT, "If-Match": tag})
    assert (status, second != tag) == (202, True)
    assert await asked(server, "GET", url, headers={"If-None-Match": tag}) == (200, b"second", second)
    late = await asked(server, "PUT", url, data=b"late", headers={**TEXT, "If-Match": tag})
    assert (late[0], b"M_CONCURRENT_WRITE" in late[1]) == (412, True)
    assert (await asked(server, "GET", url))[1] == b"second"
    assert (await asked(server, "DELETE", url))[0] == 204
    for method in ("GET", "DELETE"):
        assert (await asked(server, method, url))[0] == 404
    gone = await asked(server, "PUT", url, data=b"x", headers={**TEXT, "If-Match": tag})
    assert gone[0] == 404


async def test_what_does_not_belong_there(server: RunningServer) -> None:
    url, tag = await begun(server)
    big = b"x" * 4097
    for method, place, headers in (
        ("POST", f"{server.url}{PATH}", {}),
        ("PUT", url, {"If-Match": tag}),
    ):
        assert (await asked(server, method, place, data=big, headers={**TEXT, **headers}))[0] == 413
        other = {"Content-Type": "application/json", **headers}
        assert (await asked(server, method, place, data=b"{}", headers=other))[0] == 400
    assert (await asked(server, "PUT", url, data=b"x", headers=TEXT))[0] == 400
    for wrong in ('"x"', "*", '"99999999999999999999"', '"-1"'):
        assert (await asked(server, "PUT", url, data=b"x", headers={**TEXT, "If-Match": wrong}))[0] == 412
    assert await asked(server, "GET", url) == (200, b"first", tag)


async def test_places_are_few_and_end(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MAX_SESSIONS", 2)
    first, _ = await begun(server)
    await begun(server)
    assert (await asked(server, "POST", f"{server.url}{PATH}", data=b"x", headers=TEXT))[0] == 429
    later = Rendezvous(server.database, lambda: service.now_ms() + service.LIFETIME_MS + 1)
    name, _ = await later.begin(b"x")  # those that are over have gone
    assert (await asked(server, "GET", first))[0] == 404
    assert (await later.read(name)).content == b"x"


async def test_it_is_told_where_logins_by_other_devices_are_possible(
    server: RunningServer, tmp_path: Path, pg_url: str
) -> None:
    told = await server.anonymous().get("/_matrix/client/versions")
    assert told["unstable_features"]["org.matrix.msc4108"] is True
    preflight = await asked(server, "OPTIONS", f"{server.url}{PATH}/x")
    assert preflight[0] == 204


async def test_without_oauth_there_are_none(pg_url: str, tmp_path: Path) -> None:
    async with running(pg_url, plain_config(tmp_path)) as server:
        told = await server.anonymous().get("/_matrix/client/versions")
        assert told["unstable_features"]["org.matrix.msc4108"] is False
        assert (await asked(server, "POST", f"{server.url}{PATH}", data=b"x", headers=TEXT))[0] == 404
