"""What other servers may do to us with an answer: nothing that lasts, and nothing that fills the memory."""

import asyncio
import gzip

import orjson
import pytest
from aiohttp import web
from attrs import evolve

from federation.peers import Peers
from federation.transport.requests import LONG, MIB, NORMAL, Patience, PeerRefused, PeerUnreachable
from homeserver.core.canonical_json import Unparsed
from tests.federation.transport.world import US, Internet, traveling

PATH = "/_matrix/federation/v1/version"
HASTY = Patience(connect=1, total=0.3, max_bytes=100_000, silence=5)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.fixture
def internet():
    return Internet()


@pytest.fixture
async def traveler(internet, tmp_path):
    async with traveling(internet, tmp_path) as traveler:
        yield traveler


def standing(traveler, name):
    return traveler.requests.destinations.standing(name)


async def slow_head(reader, writer):
    await reader.read(1)
    await asyncio.Event().wait()


async def slow_body(reader, writer):
    await reader.read(1)
    writer.write(HEAD + b"Content-Length: 100\r\n\r\n{")
    await asyncio.Event().wait()


async def dripping_head(reader, writer):
    await reader.read(1)
    writer.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(10_000):
        writer.write(b"X-%d: drip\r\n" % number)
        await writer.drain()
        await asyncio.sleep(0.02)


async def dripping_body(reader, writer):
    await reader.read(1)
    writer.write(HEAD + b"Content-Length: 10000\r\n\r\n{")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("serve", [slow_head, slow_body, dripping_head, dripping_body])
async def test_slow_answers_end(internet, traveler, serve):
    async with internet.raw(serve, "127.0.0.1") as port:
        name = f"127.0.0.1:{port}"
        with pytest.raises(PeerUnreachable, match="no answer in time"):
            await asyncio.wait_for(traveler.requests.get(name, PATH, patience=HASTY), 5)
    assert traveler.outcomes() == {"timed_out": 1}
    assert standing(traveler, name).failures == 1


async def test_silence_ends_an_answer(internet, traveler):
    patience = evolve(NORMAL, silence=0.1)
    async with internet.raw(slow_body, "127.0.0.1") as port:
        with pytest.raises(PeerUnreachable, match="no answer in time"):
            await asyncio.wait_for(traveler.requests.get(f"127.0.0.1:{port}", PATH, patience=patience), 5)


async def test_a_handshake_that_never_ends(internet, traveler):
    """The other end takes the connection, and then says nothing of TLS."""

    async def mute(reader, writer):
        await reader.read()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    name = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    patience = evolve(NORMAL, connect=0.2)
    try:
        with pytest.raises(PeerUnreachable, match="no answer in time"):
            await asyncio.wait_for(traveler.requests.get(name, PATH, patience=patience), 5)
    finally:
        server.close()


async def endless(reader, writer):
    await reader.read(1)
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
        await writer.drain()


async def test_endless_answers_end(internet, traveler):
    async with internet.raw(endless, "127.0.0.1") as port:
        with pytest.raises(PeerUnreachable, match="too large an answer"):
            await asyncio.wait_for(traveler.requests.get(f"127.0.0.1:{port}", PATH), 60)


async def test_a_declared_length_is_enough(internet, traveler):
    async def serve(reader, writer):
        await reader.read(1)
        writer.write(HEAD + b"Content-Length: 99999999999\r\n\r\n")
        await asyncio.Event().wait()

    async with internet.raw(serve, "127.0.0.1") as port:
        with pytest.raises(PeerUnreachable, match="too large an answer"):
            await asyncio.wait_for(traveler.requests.get(f"127.0.0.1:{port}", PATH), 5)


async def test_a_bomb_does_not_burst(internet, traveler):
    """60 kB that become 60 MB."""
    bomb = gzip.compress(b'{"a":"' + b"a" * 60_000_000 + b'"}')
    answer = lambda request: web.Response(body=bomb, headers={"Content-Encoding": "gzip"})  # noqa: E731
    async with internet.site(answer, "127.0.0.1") as site:
        with pytest.raises(PeerUnreachable, match="too large an answer"):
            patience = evolve(NORMAL, max_bytes=1_000_000)
            await traveler.requests.get(f"127.0.0.1:{site.port}", PATH, patience=patience)
        with pytest.raises(PeerUnreachable):
            await traveler.requests.get_bytes(f"127.0.0.1:{site.port}", PATH, patience=HASTY)


async def test_compressed_answers_are_read(internet, traveler):
    answer = lambda request: web.Response(  # noqa: E731
        body=gzip.compress(b'{"a": 1}'), headers={"Content-Encoding": "gzip"}
    )
    async with internet.site(answer, "127.0.0.1") as site:
        assert await traveler.requests.get(f"127.0.0.1:{site.port}", PATH) == {"a": 1}


GARBAGE = [b"", b"<html>", b"[]", b"null", b"{", b'{"a": NaN}', b"\xff{}", b'{"a":"\\ud800"}', b"[" * 100_000]


@pytest.mark.parametrize("body", GARBAGE)
async def test_garbage_is_unreadable(internet, traveler, body):
    async with internet.site(lambda request: web.Response(body=body), "127.0.0.1") as site:
        name = f"127.0.0.1:{site.port}"
        with pytest.raises(PeerUnreachable, match="unreadable answer"):
            await traveler.requests.get(name, PATH)
        assert standing(traveler, name).failures == 1


@pytest.mark.parametrize("body", [*GARBAGE, b'{"errcode": 5, "error": []}', b" " * 200_000])
async def test_garbage_errors_are_refusals(internet, traveler, body):
    async with internet.site(lambda request: web.Response(status=403, body=body), "127.0.0.1") as site:
        with pytest.raises(PeerRefused) as refused:
            await traveler.requests.get(f"127.0.0.1:{site.port}", PATH)
    assert (refused.value.status, refused.value.errcode, refused.value.error) == (403, "", "")


async def test_errors_are_told(internet, traveler):
    said = {"errcode": "M_FORBIDDEN", "error": "Not you", "room_version": "9"}
    async with internet.site(lambda request: web.json_response(said, status=403), "127.0.0.1") as site:
        with pytest.raises(PeerRefused, match="403 M_FORBIDDEN Not you") as refused:
            await traveler.requests.get(f"127.0.0.1:{site.port}", PATH)
    assert refused.value.body == said
    assert standing(traveler, f"127.0.0.1:{site.port}").failures == 0
    assert traveler.outcomes() == {"refused": 1}


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_refused(internet, traveler, status):
    answer = lambda request: web.Response(status=status, headers={"Location": "/elsewhere"})  # noqa: E731
    async with internet.site(answer, "127.0.0.1") as site:
        with pytest.raises(PeerRefused):
            await traveler.requests.get(f"127.0.0.1:{site.port}", PATH)
    assert len(site.asked) == 1


LIFE = [  # status, body, is it a failure of the server?
    (401, b"", False),
    (404, b"<html>", False),
    (500, b'{"errcode": "M_UNKNOWN", "error": "oops"}', False),
    (504, b'{"errcode": "M_NOT_YET_UPLOADED"}', False),
    (500, b"", True),
    (502, b"<html>Bad gateway</html>", True),
]


@pytest.mark.parametrize(("status", "body", "dead"), LIFE)
async def test_signs_of_life(internet, traveler, status, body, dead):
    async with internet.site(lambda request: web.Response(status=status, body=body), "127.0.0.1") as site:
        name = f"127.0.0.1:{site.port}"
        with pytest.raises(PeerRefused):
            await traveler.requests.get(name, PATH)
    assert traveler.requests.destinations.may_ask(name) is not dead


@pytest.mark.parametrize(
    "answer",
    [
        lambda request: web.json_response(
            {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 5000}, status=429
        ),
        lambda request: web.Response(status=429, headers={"Retry-After": "5"}),
    ],
)
async def test_a_server_that_wants_to_be_left_alone(internet, traveler, answer):
    destinations = traveler.requests.destinations
    async with internet.site(answer, "127.0.0.1") as site:
        name = f"127.0.0.1:{site.port}"
        with pytest.raises(PeerRefused) as refused:
            await traveler.requests.get(name, PATH)
    assert refused.value.retry_after == 5
    assert 4000 < destinations.retry_at(name) - destinations.clock() <= 5000
    destinations.spoke_to_us(name)
    assert not destinations.may_ask(name)


async def test_a_server_that_is_down_is_left_alone(internet, traveler):
    async with internet.site({}, "127.0.0.1") as site:
        name = f"127.0.0.1:{site.port}"
        traveler.requests.destinations.failed(name, "down")
        with pytest.raises(PeerUnreachable, match="left alone for a while"):
            await traveler.requests.get(name, PATH)
        assert site.asked == []
        assert await traveler.requests.get(name, PATH, even_if_down=True) == {}
        assert await traveler.requests.get(name, PATH) == {}
    assert traveler.outcomes() == {"backing_off": 1, "ok": 2}


async def test_a_refused_connection(internet, traveler):
    async with internet.site({}, "127.0.0.1") as site:
        name = f"127.0.0.1:{site.port}"
    with pytest.raises(PeerUnreachable, match="onnect"):
        await traveler.requests.get(name, PATH)
    assert traveler.outcomes() == {"unreachable": 1}


@pytest.mark.parametrize(
    ("name", "peers", "reason"),
    [
        (US, Peers(US), "this server itself"),
        ("no/name", Peers(US), "not a server name"),
        ("a b.test", Peers(US), "not a server name"),
        ("", Peers(US), "not a server name"),
        ("there.test", Peers(US, enabled=False), "switched off"),
        ("there.test", Peers(US, denied=["*.test"]), "does not federate with it"),
        ("there.test", Peers(US, allowed=["*.example"]), "chosen servers only"),
    ],
)
async def test_servers_not_to_be_asked(internet, tmp_path, name, peers, reason):
    async with traveling(internet, tmp_path, peers=peers) as traveler:
        with pytest.raises(PeerUnreachable, match=reason):
            await traveler.requests.get(name, PATH, even_if_down=True)
    assert internet.names.asked == []


async def test_cancelling_is_no_failure(internet, traveler):
    started = asyncio.Event()

    async def answer(request):
        started.set()
        await asyncio.Event().wait()

    async with internet.site(answer, "127.0.0.1") as site:
        name = f"127.0.0.1:{site.port}"
        task = asyncio.create_task(traveler.requests.get(name, PATH))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert standing(traveler, name).failures == 0
    assert traveler.requests.destinations.may_ask(name)


async def test_no_more_at_once_than_a_server_can_bear(internet, traveler):
    running = most = 0
    go = asyncio.Event()

    async def answer(request):
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 16:
            go.set()
        await go.wait()
        running -= 1
        return {}

    async with internet.site(answer, "127.0.0.1") as site:
        name = f"127.0.0.1:{site.port}"
        await asyncio.gather(*(traveler.requests.get(name, PATH) for _ in range(40)))
    assert most == 16


async def test_large_answers_are_parsed_as_they_come(internet, traveler):
    answer = {"pdus": [{"n": n, "text": "ü" * 300} for n in range(2000)], "next": {"a": [1]}, "x": None}
    body = orjson.dumps(answer)
    assert len(body) > 1_000_000
    async with internet.site(lambda request: web.Response(body=body), "127.0.0.1") as site:
        assert await traveler.requests.get(f"127.0.0.1:{site.port}", PATH) == answer


SPLIT = evolve(LONG, unparsed=frozenset({"state"}))


@pytest.mark.parametrize("extra", [b"", b" " * 17 * MIB], ids=["large", "very large"])
async def test_large_answers_can_be_left_unparsed(internet, traveler, extra):
    """In a very large one everything is parsed as it comes, which never takes long."""
    members = [{"n": number, "blank": " " * 400} for number in range(1000)]
    text = b'{"state": %b, %b"auth_chain": [{}], "event": {"x": 1}}' % (orjson.dumps(members), extra)
    async with internet.site(lambda request: web.Response(body=text), "127.0.0.1") as site:
        answer = await traveler.requests.get(f"127.0.0.1:{site.port}", PATH, patience=SPLIT)
    assert {isinstance(one, Unparsed) for one in answer["state"]} == {not extra}
    if not extra:
        answer["state"] = [orjson.loads(memoryview(one)) for one in answer["state"]]
    assert answer == {"state": members, "auth_chain": [{}], "event": {"x": 1}}


async def test_a_large_answer_that_is_none(internet, traveler):
    text = b'{"state": [%b}' % (b"5," * 200_000)
    async with internet.site(lambda request: web.Response(body=text), "127.0.0.1") as site:
        with pytest.raises(PeerUnreachable, match="unreadable"):
            await traveler.requests.get(f"127.0.0.1:{site.port}", PATH, patience=SPLIT)


async def test_a_reader_that_fails_is_not_the_peers_fault(internet, traveler):
    async with internet.site({"a": 1}, "127.0.0.1") as site:
        name = f"127.0.0.1:{site.port}"
        with pytest.raises(ConnectionResetError, match="client"):
            async with traveler.requests.stream(name, PATH) as streamed:
                assert (streamed.status, streamed.headers["content-type"][:16]) == (200, "application/json")
                raise ConnectionResetError("the client went away")
    assert standing(traveler, name).failures == 0


async def test_streams_are_limited(internet, traveler):
    async with internet.raw(endless, "127.0.0.1") as port:
        with pytest.raises(PeerUnreachable):
            async with traveler.requests.stream(f"127.0.0.1:{port}", PATH, patience=HASTY) as streamed:
                async for _ in streamed.chunks:
                    pass


async def test_floats_of_old_rooms_are_signed_as_they_are_sent(internet, traveler):
    async with internet.site({}, "127.0.0.1") as site:
        await traveler.requests.put(f"127.0.0.1:{site.port}", PATH, {"n": 1e16, "big": 10**20})
    assert site.bodies == [b'{"big":100000000000000000000,"n":1e+16}']


async def test_nothing_goes_out_after_the_end(internet, traveler):
    async with internet.site({}, "127.0.0.1") as site:
        name = f"127.0.0.1:{site.port}"
        assert await traveler.requests.get(name, PATH) == {}
        await traveler.outside.close()
        with pytest.raises(PeerUnreachable, match="stopping"):
            await traveler.requests.get(name, PATH)
