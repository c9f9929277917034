"""Media of other servers: two of ours, and peers that do not behave [ss "Content Repository"]."""

import asyncio

from aiohttp import web

from homeserver.app.config import Media
from tests.client_api.test_content_repository import download, fetch, upload
from tests.client_api.test_thumbnails import thumbnail
from tests.kit.peer_calls import Refuse
from tests.services.media import images

PATH = "/_matrix/federation/v1/media/download/{mediaId}"
OLD_PATH = "/_matrix/media/v3/download/{serverName}/{mediaId}"


async def test_media_travel(homings):
    one, other = await homings(2)
    alice, bob = await one.register(), await other.register()
    medium = await upload(alice, images.image("PNG"), "image/png", filename="bild ж.png")
    answer, content = await fetch(bob, download(medium))
    assert (answer.status, content) == (200, images.image("PNG"))
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Disposition"] == "inline; filename*=utf-8''bild%20%D0%B6.png"
    answer, content = await fetch(bob, thumbnail(medium), width=90, height=90)
    assert images.read(content).size == (96, 48)
    await one.stop()  # what was fetched is here
    answer, content = await fetch(bob, download(medium))
    assert content == images.image("PNG")


async def test_large_media_travel_once_for_all_who_ask(homings):
    one, other = await homings(2)
    alice, bob = await one.register(), await other.register()
    large = b"0123456789abcdef" * 2**16 * 3
    medium = await upload(alice, large, "video/mp4")
    came = await asyncio.gather(*(fetch(bob, download(medium)) for _ in range(5)))
    assert all(content == large for _, content in came)
    asked = [one for one in came if one[0].status == 200]
    assert len(asked) == 5
    assert len(list((other.config.server.folder / "media").glob("??/??/*"))) == 1


async def test_what_we_tell_servers(homing, peer):
    alice = await homing.register()
    medium = await upload(alice, images.image("PNG"), "image/png")
    media_id = medium.partition("/")[2]
    path = f"/_matrix/federation/v1/media/download/{media_id}"
    answer = await peer.request("GET", homing.name, path)
    assert answer.headers["Content-Type"].startswith("multipart/mixed; boundary=")
    assert b"Content-Type: application/json\r\n\r\n{}\r\n--" in answer.content
    assert images.image("PNG") in answer.content
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    small = f"/_matrix/federation/v1/media/thumbnail/{media_id}?width=50&height=50"
    answer = await peer.request("GET", homing.name, small)
    assert (answer.status, b"Content-Type: image/jpeg" in answer.content) == (200, True)
    answer = await peer.request("GET", homing.name, "/_matrix/federation/v1/media/download/nothing")
    assert (answer.status, answer.errcode) == (404, "M_NOT_FOUND")
    assert (await homing.anonymous().ask("GET", path)).status == 401


def multipart(content=b"remote", head=b"Content-Type: text/plain\r\n"):
    body = (
        b"--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\n"
        + head
        + b"\r\n"
        + content
        + b"\r\n--b--"
    )
    return web.Response(body=body, headers={"Content-Type": "multipart/mixed; boundary=b"})


async def test_a_peers_medium_is_asked_for_once(homing, peer):
    alice = await homing.register()
    peer.on("GET", PATH, lambda received: answered(multipart()))
    for _ in range(3):
        answer, content = await fetch(alice, download(f"{peer.name}/one"))
        assert (content, answer.headers["Content-Disposition"]) == (b"remote", "inline")
    assert len(asked(peer)) == 1
    assert asked(peer)[0].query["timeout_ms"] == "20000"


REFUSALS = [
    ((404, "M_NOT_FOUND"), (404, "M_NOT_FOUND")),
    ((403, "M_FORBIDDEN"), (404, "M_NOT_FOUND")),
    ((504, "M_NOT_YET_UPLOADED"), (504, "M_NOT_YET_UPLOADED")),
    ((502, "M_TOO_LARGE"), (502, "M_TOO_LARGE")),
]


async def test_refusals_of_peers(homing, peer):
    alice = await homing.register()

    async def refuse(received):
        raise Refuse(*REFUSALS[int(received.parameters["mediaId"])][0])

    peer.on("GET", PATH, refuse)
    for number, (_, told) in enumerate(REFUSALS):
        assert await alice.refused("GET", download(f"{peer.name}/{number}")) == told


async def test_what_a_peer_lacks_is_not_asked_for_again_and_again(homing, peer):
    alice = await homing.register()
    peer.on("GET", PATH, {"errcode": "M_NOT_FOUND"}, status=404)
    for _ in range(3):
        assert await alice.refused("GET", download(f"{peer.name}/one")) == (404, "M_NOT_FOUND")
    assert len(asked(peer)) == 1


async def test_too_large_for_us(homings, peer):
    (homing,) = await homings(1, media=Media(remote_bytes=2000))
    alice = await homing.register()
    peer.on("GET", PATH, lambda received: answered(multipart(b"x" * 2001)))
    assert await alice.refused("GET", download(f"{peer.name}/one")) == (502, "M_TOO_LARGE")
    assert not list((homing.config.server.folder / "media").glob("??/??/*"))
    assert not list((homing.config.server.folder / "media/drafts").iterdir())


def unreadable():
    """Answers that are no media."""
    parts = {"Content-Type": "multipart/mixed; boundary=b"}
    yield web.Response(body=b"no parts", headers=parts)
    yield web.Response(body=b"{}", headers={"Content-Type": "application/json"})
    yield web.Response(body=b"--b\r\n\r\n{}\r\n--b\r\n\r\nbroken off", headers=parts)
    yield multipart(head=b"Location: https://127.0.0.1:1/x\r\n")
    yield multipart(head=b"Location: file:///etc/passwd\r\n")


async def test_answers_that_cannot_be_read(homing, peer):
    alice = await homing.register()
    for number, answer in enumerate(unreadable()):
        peer.on("GET", PATH, lambda received, answer=answer: answered(answer))
        assert await alice.refused("GET", download(f"{peer.name}/{number}")) == (404, "M_NOT_FOUND")
        # It is down after that, until it speaks to us.
        await peer.request("GET", homing.name, "/_matrix/federation/v1/media/download/any")
    assert len(asked(peer)) == 5
    assert not list((homing.config.server.folder / "media").glob("??/??/*"))


async def test_servers_of_old(homing, peer):
    alice = await homing.register()
    peer.on("GET", PATH, {"errcode": "M_UNRECOGNIZED"}, status=404)
    plain = web.Response(body=b"old", headers={"Content-Type": "text/html"})
    peer.on("GET", OLD_PATH, lambda received: answered(plain))
    answer, content = await fetch(alice, download(f"{peer.name}/one"))
    assert (content, answer.headers["Content-Disposition"]) == (b"old", "attachment")
    assert peer.calls[-1].query["allow_remote"] == "false"


async def test_nothing_is_fetched_for_somebody_without_a_token(homing, peer):
    peer.on("GET", PATH, lambda received: answered(multipart()))
    path = f"/_matrix/media/v3/download/{peer.name}/one"
    assert await homing.anonymous().refused("GET", path) == (404, "M_NOT_FOUND")
    assert not asked(peer)


async def answered(response):
    return response


def asked(peer):
    return [call for call in peer.calls if "/media/" in call.path]
