"""Stories of linked pages, on a site that means us ill [cs "Content repository"]."""

import asyncio
import zlib

import pytest
from aiohttp import web

from homeserver.app.config import UrlPreviews
from tests.client_api.test_content_repository import download, fetch, place
from tests.kit.server import plain_config, running
from tests.services.media import images

PATH = "/v1/media/preview_url"
PAGE = """<html><head><title>ignored</title>
<meta property="og:title" content="A page"><meta property="og:description" content="About it">
<meta property="og:site_name" content="Site"><meta property="og:image" content="/pictures/one.png?x">
</head></html>"""


class Site:
    """A web site; `pages` has what it answers, `asked` what it was asked."""

    def __init__(self):
        self.pages, self.asked = {}, []

    def html(self, path, text, **headers):
        self.pages[path] = lambda: web.Response(text=text, content_type="text/html", headers=headers)

    def moved(self, path, to):
        self.pages[path] = lambda: web.Response(status=302, headers={"Location": to})

    async def __call__(self, request):
        self.asked.append(request.path)
        made = self.pages.get(request.path)
        if made is None:
            return web.Response(status=404)
        answer = made()
        return await answer(request) if callable(answer) else answer


@pytest.fixture
async def site():
    site = Site()
    runner = web.ServerRunner(web.Server(site), shutdown_timeout=0.1)
    await runner.setup()
    listening = web.TCPSite(runner, "127.0.0.1", 0)
    await listening.start()
    site.port = listening._server.sockets[0].getsockname()[1]
    site.url = f"http://127.0.0.1:{site.port}"
    await web.TCPSite(runner, "127.0.0.2", site.port).start()  # what must not be reached
    yield site
    await runner.cleanup()


@pytest.fixture
async def server(pg_url, tmp_path):
    options = UrlPreviews(
        enabled=True, allowed_networks=["127.0.0.1/32"], denied_hosts=["*.denied.example"], image_bytes=50_000
    )
    async with running(pg_url, plain_config(tmp_path, url_previews=options)) as server:
        yield server


async def test_a_page_and_its_image(server, site):
    alice = await server.register()
    site.html("/page", PAGE)
    picture = images.image("PNG", (40, 20))
    site.pages["/pictures/one.png"] = lambda: web.Response(body=picture, content_type="text/plain")
    preview = await alice.get(PATH, url=f"{site.url}/page#part")
    copy = place(preview.pop("og:image"))
    assert preview == {
        "og:title": "A page",
        "og:description": "About it",
        "og:site_name": "Site",
        "og:image:type": "image/png",
        "og:image:width": 40,
        "og:image:height": 20,
        "matrix:image:size": len(picture),
    }
    answer, content = await fetch(alice, download(copy))
    assert (content, answer.headers["Content-Disposition"]) == (picture, "inline; filename=one.png")
    for path in (PATH, "/_matrix/media/v3/preview_url", "/_matrix/media/r0/preview_url"):
        assert (await alice.get(path, url=f"{site.url}/page#part"))["og:title"] == "A page"
    assert site.asked == ["/page", "/pictures/one.png"]  # the others were told what we had


async def test_many_ask_at_once(server, site):
    alice = await server.register()
    site.html("/page", "<title>Once</title>")
    told = await asyncio.gather(*(alice.get(PATH, url=f"{site.url}/page") for _ in range(5)))
    assert (told, site.asked) == ([{"og:title": "Once"}] * 5, ["/page"])


async def test_a_link_to_an_image(server, site):
    alice = await server.register()
    site.pages["/a.gif"] = lambda: web.Response(body=images.animation(), content_type="image/gif")
    preview = await alice.get(PATH, url=f"{site.url}/a.gif")
    assert (preview["og:image:type"], preview["og:image:width"]) == ("image/gif", 200)


async def test_redirects_are_followed_a_few_times(server, site):
    alice = await server.register()
    site.html("/end", "<title>End</title>")
    site.moved("/begin", "/end")
    site.moved("/circle", "/circle")
    assert await alice.get(PATH, url=f"{site.url}/begin") == {"og:title": "End"}
    assert await alice.get(PATH, url=f"{site.url}/circle") == {}
    assert site.asked.count("/circle") == 6


async def test_no_road_leads_inside(server, site):
    """Neither names nor redirects nor images lead to addresses that are not public."""
    alice = await server.register()
    inside = f"http://127.0.0.2:{site.port}/secret"
    site.html("/secret", "<title>Secret</title>")
    site.moved("/moved", inside)
    site.html("/image", f"<title>Image</title><meta property=og:image content={inside}>")
    for url in (
        inside,
        f"{site.url}/moved",
        f"http://[::1]:{site.port}/secret",
        f"http://[::ffff:127.0.0.2]:{site.port}/secret",
        f"http://0.0.0.0:{site.port}/secret",
        f"http://2130706434:{site.port}/secret",
        f"http://0x7f.2:{site.port}/secret",
    ):
        assert await alice.get(PATH, url=url) == {}, url
    assert await alice.get(PATH, url=f"{site.url}/image") == {"og:title": "Image"}
    assert "/secret" not in site.asked


async def test_what_is_not_asked_at_all(server, site):
    alice = await server.register()
    for url in (
        "file:///etc/passwd",
        "gopher://example.org/",
        "//example.org/",
        "nonsense",
        "http://",
        "http://user:password@example.org/",
        "http://example.org:25/",
        "https://www.denied.example/",
        "http://example.org/" + "x" * 5000,
    ):
        answer = await alice.ask("GET", PATH, url=url)
        assert answer.status == 403 or (answer.status, answer.json) == (200, {}), url
    assert await alice.refused("GET", PATH) == (400, "M_MISSING_PARAM")
    assert await server.anonymous().refused("GET", PATH, url=site.url) == (401, "M_MISSING_TOKEN")


async def endless(request):
    response = web.StreamResponse(headers={"Content-Type": "text/html"})
    await response.prepare(request)
    await response.write(b"<title>Endless</title>")
    try:
        while True:
            await response.write(b"<p>more</p>" * 10_000)
    except ConnectionError:
        return response


async def test_what_never_ends_is_read_in_part(server, site):
    alice = await server.register()
    site.pages["/endless"] = lambda: endless
    assert (await alice.get(PATH, url=f"{site.url}/endless"))["og:title"] == "Endless"


async def test_bad_answers_are_no_preview(server, site):
    alice = await server.register()
    packed = zlib.compress(b"<title>Bomb</title>" * 10_000)
    site.html("/packed", "", **{"Content-Encoding": "deflate"})
    site.pages["/packed"] = lambda: web.Response(
        body=packed, content_type="text/html", headers={"Content-Encoding": "deflate"}
    )
    site.pages["/pdf"] = lambda: web.Response(body=b"%PDF", content_type="application/pdf")
    site.pages["/broken"] = lambda: web.Response(status=500)
    site.pages["/bomb"] = lambda: web.Response(body=images.bomb(), content_type="image/png")
    site.pages["/large"] = lambda: web.Response(body=images.image("BMP"), content_type="image/png")
    site.pages["/svg"] = lambda: web.Response(text="<svg/>", content_type="image/svg+xml")
    for path in ("/packed", "/pdf", "/broken", "/missing", "/bomb", "/large", "/svg"):
        assert await alice.get(PATH, url=site.url + path) == {}, path
    assert not list((server.config.server.folder / "media").glob("??/??/*"))


async def test_previews_are_off_unless_wanted(pg_url, tmp_path):
    async with running(pg_url, plain_config(tmp_path)) as server:
        alice = await server.register()
        assert await alice.refused("GET", PATH, url="https://example.org/") == (403, "M_FORBIDDEN")


OEMBED = '<html><head><title>Clip</title><link rel="alternate" type="application/json+oembed" href="{}"></head></html>'


def site_says(site, text):
    site.pages["/oembed"] = lambda: web.Response(text=text, content_type="application/json")


async def test_what_the_site_says_of_a_page(server, site):
    alice = await server.register()
    site.html("/clip", OEMBED.format("/oembed?url=clip"))
    picture = images.image("PNG", (40, 20))
    site.pages["/still.png"] = lambda: web.Response(body=picture)
    site_says(
        site, '{"type": "video", "title": "Other", "provider_name": "Clips", "thumbnail_url": "/still.png"}'
    )
    preview = await alice.get(PATH, url=f"{site.url}/clip")
    assert (preview["og:title"], preview["og:site_name"]) == ("Clip", "Clips")
    assert preview["og:image:width"] == 40


@pytest.mark.parametrize(
    "text", ["", "[]", '{"title": 1}', "{" * 5000, '{"thumbnail_url": "http://127.0.0.2/x", "type": []}']
)
async def test_a_site_that_says_nothing_of_use(server, site, text):
    alice = await server.register()
    site.html("/clip", OEMBED.format(f"{site.url}/oembed"))
    site_says(site, text)
    assert await alice.get(PATH, url=f"{site.url}/clip") == {"og:title": "Clip"}


async def test_nothing_inside_is_asked_for_more(server, site):
    alice = await server.register()
    site.html("/clip", OEMBED.format(f"http://127.0.0.2:{site.port}/oembed"))
    assert await alice.get(PATH, url=f"{site.url}/clip") == {"og:title": "Clip"}
    assert site.asked == ["/clip"]
