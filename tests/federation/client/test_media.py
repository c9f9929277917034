"""Media of other servers, in each of the ways they come [ss "Content Repository"]."""

import asyncio

import pytest
from aiohttp import web

from federation.client.media import MediaRequests
from federation.transport.requests import PeerRefused, PeerUnreachable
from tests.federation.transport.world import Internet, traveling

DATA = bytes(range(256)) * 1000
OLD = "/_matrix/media/v3/download"


@pytest.fixture
def internet():
    return Internet()


@pytest.fixture
async def traveler(internet, tmp_path):
    async with traveling(internet, tmp_path) as traveler:
        yield traveler


def multipart(head, data, first=b"{}", end=b"\r\n--b--"):
    body = (
        b"--b\r\nContent-Type: application/json\r\n\r\n"
        + first
        + b"\r\n--b\r\n"
        + head
        + b"\r\n\r\n"
        + data
        + end
    )
    return lambda request: web.Response(body=body, headers={"Content-Type": "multipart/mixed; boundary=b"})


async def downloaded(traveler, site):
    """Content type, disposition and bytes of a medium of the site."""
    media = MediaRequests(traveler.requests)
    async with media.download(f"127.0.0.1:{site.port}", "abc") as medium:
        data = b"".join([chunk async for chunk in medium.chunks])
        return medium.content_type, medium.content_disposition, data


async def test_a_medium(internet, traveler):
    answer = multipart(b"Content-Type: image/png\r\nContent-Disposition: inline", DATA)
    async with internet.site(answer, "127.0.0.1") as site:
        assert await downloaded(traveler, site) == ("image/png", "inline", DATA)
    assert site.asked[0].raw_path == "/_matrix/federation/v1/media/download/abc?timeout_ms=20000"
    assert "Authorization" in site.asked[0].headers


async def test_a_thumbnail(internet, traveler):
    async with internet.site(multipart(b"Content-Type: image/png", b""), "127.0.0.1") as site:
        media = MediaRequests(traveler.requests)
        async with media.thumbnail(f"127.0.0.1:{site.port}", "abc", {"width": 5, "height": 6}) as medium:
            assert [chunk async for chunk in medium.chunks] == []
    assert site.asked[0].raw_path == "/_matrix/federation/v1/media/thumbnail/abc?width=5&height=6"


async def test_a_medium_that_lies_elsewhere(internet, traveler):
    """The other host gets no signature of ours."""
    internet.lead("files.test")
    files = lambda request: web.Response(body=DATA, content_type="image/gif")  # noqa: E731
    async with internet.site(files, "files.test") as elsewhere:
        location = f"Location: https://files.test:{elsewhere.port}/x?y=z".encode()
        async with internet.site(multipart(location, b""), "127.0.0.1") as site:
            assert await downloaded(traveler, site) == ("image/gif", None, DATA)
    assert elsewhere.asked[0].path_qs == "/x?y=z"
    assert "Authorization" not in elsewhere.asked[0].headers


@pytest.mark.parametrize(
    "location", ["http://files.test/", "https://10.0.0.1/", "https://nowhere.test/", "/relative", "https://["]
)
async def test_a_medium_that_lies_where_we_do_not_go(internet, traveler, location):
    async with internet.site(multipart(b"Location: " + location.encode(), b""), "127.0.0.1") as site:
        with pytest.raises(PeerUnreachable, match="it led us nowhere"):
            await downloaded(traveler, site)


async def test_a_server_of_old(internet, traveler):
    def answer(request):
        if not request.path.startswith(OLD):
            return web.json_response({"errcode": "M_UNRECOGNIZED"}, status=404)
        return web.Response(body=DATA, content_type="image/png")

    async with internet.site(answer, "127.0.0.1") as site:
        assert (await downloaded(traveler, site))[2] == DATA
    assert site.asked[1].raw_path == f"{OLD}/127.0.0.1%3A{site.port}/abc?timeout_ms=20000&allow_remote=false"


async def test_a_medium_that_is_not_there(internet, traveler):
    missing = lambda request: web.json_response({"errcode": "M_NOT_FOUND"}, status=404)  # noqa: E731
    async with internet.site(missing, "127.0.0.1") as site:
        with pytest.raises(PeerRefused, match="M_NOT_FOUND"):
            await downloaded(traveler, site)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        lambda request: web.Response(body=b"x" * 100_000, content_type="text/plain"),
        lambda request: web.Response(body=b"x", headers={"Content-Type": "multipart/mixed; boundary=b"}),
        multipart(b"Content-Type: image/png", DATA, end=b""),
        multipart(b"Content-Type: image/png", DATA, first=b" " * 100_000),
    ],
)
async def test_what_is_no_medium(internet, traveler, answer):
    async with internet.site(answer, "127.0.0.1") as site:
        with pytest.raises(PeerUnreachable, match="unreadable"):
            await asyncio.wait_for(downloaded(traveler, site), 10)
