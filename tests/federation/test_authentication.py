"""Which requests of servers are believed, through the whole way in: sockets, the signature's bytes, the keys."""

import asyncio

import orjson
import pytest
from attrs import define, field
from prometheus_client import CollectorRegistry
from signedjson.key import generate_signing_key

from federation import authentication
from federation.authentication import ServerAuthentication
from federation.peers import Peers
from federation.protocol import x_matrix
from federation.protocol.x_matrix import SignedRequest
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.gate import Gate
from homeserver.web.metrics import HttpMetrics
from homeserver.web.rate_limit import RateLimiter
from homeserver.web.serve import Web
from homeserver.web.settings import WebSettings
from tests.kit.key_servers import DAY, OUR_NAME, KeyNet
from tests.web.site import Handlers, Site, authenticate

SEND = "/_matrix/federation/v1/send/1"
FACT = "/_matrix/federation/v1/fact?a=%20b&a=c"


async def tell(call):
    return {"origin": call.origin}


@define(eq=False)
class World:
    """A server of ours, and others that sign requests to it."""

    net: KeyNet
    site: Site
    spoke: list = field(factory=list)

    async def ask(self, method, target, *headers, content=None):
        lines = [f"{method} {target} HTTP/1.1", "Host: x", "Connection: close", *headers]
        lines += [] if content is None else [f"Content-Length: {len(content)}"]
        head = "\r\n".join([*lines, "", ""]).encode()
        status, _, body = await self.site.exchange(head + (content or b""))
        return status, orjson.loads(body)

    async def signed(self, server, method="GET", target=FACT, *, content=None, **changes):
        header = self.header(server, method, target, content=content, **changes)
        return await self.ask(method, target, header, content=content)

    def header(
        self, server, method="GET", target=FACT, *, content=None, key=None, to=OUR_NAME, said_to=OUR_NAME
    ):
        request = SignedRequest(method, target, server.name, to, content)
        made = x_matrix.sign(request, key or server.key)
        said = x_matrix.XMatrix(made.origin, made.key_id, made.signature, said_to)
        return f"Authorization: {x_matrix.build(said)}"


@pytest.fixture
async def world(database):
    net, spoke = KeyNet(), []
    ring = net.ring(database)
    peers = Peers(OUR_NAME, denied=["*.bad.example"])
    server_gate = ServerAuthentication(ring, peers, spoke.append, net.clock)
    handlers = Handlers()
    endpoints = [
        Endpoint("PUT", "/_matrix/federation/v1/send/{txnId}", handlers.transaction, auth=Auth.SERVER),
        Endpoint("GET", "/_matrix/federation/v1/fact", tell, auth=Auth.SERVER),
        Endpoint("PUT", "/_matrix/federation/v1/nobody_reads", tell, auth=Auth.SERVER),
    ]
    web = Web(
        endpoints,
        Gate(authenticate, server_gate),
        limiter=RateLimiter(),
        metrics=HttpMetrics(CollectorRegistry()),
        settings=WebSettings(stop_timeout=1),
        faults={},
    )
    port = await web.listen("127.0.0.1", 0)
    yield World(net, Site(port, web, handlers, CollectorRegistry()), spoke)
    net.gate.set()
    await web.stop()


def unauthorized(answer, part):
    status, body = answer
    return status == 401 and body["errcode"] == "M_UNAUTHORIZED" and part in body["error"]


async def test_a_signed_request(world):
    a = world.net.add("a.example")
    assert await world.signed(a) == (200, {"origin": "a.example"})
    assert world.spoke == ["a.example"]
    assert await world.signed(a) == (200, {"origin": "a.example"})
    assert world.net.asked == {"a.example": 1}


@pytest.mark.parametrize("content", [b'{"pdus":[]}', b' { "pdus" : [ ] ,"b":1.0}'])
async def test_a_signed_body(world, content):
    a = world.net.add("a.example")
    canonical = x_matrix.canonical_json.encode_lenient(x_matrix.canonical_json.decode_lenient(content))
    header = world.header(a, "PUT", SEND, content=canonical)
    status, body = await world.ask("PUT", SEND, header, content=content)
    assert status == 200
    assert body["origin"] == "a.example"


async def test_the_destination_may_be_missing_and_is_ours_then(world):
    a = world.net.add("a.example")
    assert (await world.signed(a, said_to=None))[0] == 200
    assert unauthorized(await world.signed(a, to="c.example", said_to=None), "does not fit")


async def test_requests_meant_for_others(world):
    a = world.net.add("a.example")
    assert unauthorized(await world.signed(a, to="c.example", said_to="c.example"), "meant for c.example")
    assert unauthorized(await world.signed(a, said_to="c.example"), "meant for c.example")
    assert not world.net.asked


async def test_one_good_header_of_several_is_enough(world):
    a = world.net.add("a.example")
    bad = world.header(a, key=generate_signing_key("other"))
    headers = ["Authorization: Bearer abc", bad, world.header(a), "Authorization: X-Matrix nonsense"]
    assert (await world.ask("GET", FACT, *headers))[0] == 200


async def test_headers_of_several_servers(world):
    a, b = world.net.add("a.example"), world.net.add("b.example")
    answer = await world.ask("GET", FACT, world.header(a), world.header(b))
    assert unauthorized(answer, "several servers")


@pytest.mark.parametrize(
    ("headers", "part"),
    [
        ([], "no Authorization header"),
        (["Authorization: Bearer abc"], "scheme is not X-Matrix"),
        (["Authorization: X-Matrix"], "origin is missing"),
        (["Authorization: X-Matrix origin=a.example,key=ed25519:1,sig=\udcff"], "name=value pairs"),
        (['Authorization: X-Matrix origin="a.example",key="ed25519:1",sig="x"'], "could be had"),
    ],
)
async def test_unreadable_headers(world, headers, part):
    lines = [line.encode("utf-8", "surrogateescape").decode("latin-1") for line in headers]
    assert unauthorized(await world.ask("GET", FACT, *lines), part)
    assert not world.spoke


@pytest.mark.parametrize("name", ["a b", "localhost:http", "a.example:", "a/b"])
async def test_an_origin_that_is_nobodys_name(world, name):
    line = f'Authorization: X-Matrix origin="{name}",key="ed25519:1",sig="x"'
    status, body = await world.ask("GET", FACT, line.encode().decode("latin-1"))
    assert (status, body["errcode"]) == (400, "M_INVALID_PARAM")
    assert not world.spoke


async def test_forged_signatures(world):
    a = world.net.add("a.example")
    forged = world.header(a, key=generate_signing_key("a_1"))
    assert unauthorized(await world.ask("GET", FACT, forged), "does not fit")
    other_target = world.header(a, target=FACT + "d")
    assert unauthorized(await world.ask("GET", FACT, other_target), "does not fit")
    other_body = world.header(a, "PUT", SEND, content=b'{"pdus":[]}')
    assert unauthorized(await world.ask("PUT", SEND, other_body, content=b'{"pdus":[1]}'), "does not fit")
    assert not world.spoke


@pytest.mark.parametrize("content", [b"[]", b" 1", b'"x"'])
async def test_a_body_must_be_an_object_even_if_nobody_reads_it(world, content):
    a = world.net.add("a.example")
    target = "/_matrix/federation/v1/nobody_reads"
    header = world.header(a, "PUT", target, content=content.strip())
    status, body = await world.ask("PUT", target, header, content=content)
    assert (status, body["errcode"]) == (400, "M_BAD_JSON")


async def test_denied_servers_and_ourselves(world):
    for name in ("x.bad.example", OUR_NAME):
        server = world.net.add(name)
        status, body = await world.signed(server)
        assert (status, body["errcode"]) == (403, "M_FORBIDDEN")
    assert not world.net.asked


async def test_rotated_and_expired_keys_sign_no_requests(world):
    a = world.net.add("a.example")
    old = a.key
    assert (await world.signed(a))[0] == 200
    world.net.clock.go(1000)
    a.rotate("new")
    assert (await world.signed(a))[0] == 200  # its key is unknown, so we ask again
    assert unauthorized(await world.signed(a, key=old), "no valid key")
    world.net.clock.go(2 * DAY)
    a.up = False
    assert unauthorized(await world.signed(a), "no valid key")
    a.up = True
    world.net.clock.go(60_000)
    assert (await world.signed(a))[0] == 200


async def test_a_server_that_tells_its_keys_too_slowly_is_refused(world, monkeypatch):
    monkeypatch.setattr(authentication, "PATIENCE", 0.01)
    a = world.net.add("a.example")
    world.net.gate.clear()
    assert unauthorized(await world.signed(a), "could be had")


async def test_strangers_do_not_keep_known_servers_out(world, monkeypatch):
    monkeypatch.setattr(authentication, "MAX_WAITING", 1)
    a, b = world.net.add("a.example"), world.net.add("b.example")
    assert (await world.signed(a))[0] == 200
    world.net.gate.clear()
    stranger = asyncio.create_task(world.signed(b))
    await world.net.until_asked(2)
    assert (await world.signed(world.net.add("c.example")))[0] == 429
    assert (await world.signed(a))[0] == 200
    world.net.gate.set()
    assert (await stranger)[0] == 200
