"""Server names to answers, over real TLS: each road of discovery with its address, Host header, SNI and certificate."""

import asyncio

import pytest
import trustme
import uvloop
from aiohttp import web
from signedjson.key import get_verify_key

from federation.protocol import x_matrix
from federation.transport.connect import Trust
from federation.transport.requests import PeerUnreachable
from tests.federation.transport.world import KEY, US, Internet, traveling, well_known

PATH = "/_matrix/federation/v1/version"
HELLO = {"server": {"name": "there"}}


@pytest.fixture
def internet():
    return Internet()


async def asked(internet, tmp_path, name, **more):
    """Ask a server name; gives the answer."""
    async with traveling(internet, tmp_path, **more) as traveler:
        return await traveler.requests.get(name, PATH)


async def test_an_address_with_a_port(internet, tmp_path):
    async with internet.site(HELLO, "127.0.0.1") as site:
        name = f"127.0.0.1:{site.port}"
        assert await asked(internet, tmp_path, name) == HELLO
    assert (site.hosts, site.names) == ([name], [None])
    assert internet.names.asked == []


async def test_a_name_with_a_port(internet, tmp_path):
    internet.lead("there.test")
    async with internet.site(HELLO, "there.test") as site:
        name = f"there.test:{site.port}"
        assert await asked(internet, tmp_path, name) == HELLO
    assert (site.hosts, site.names) == ([name], ["there.test"])


async def test_delegated_to_a_name_with_a_port(internet, tmp_path):
    internet.lead("there.test")
    internet.lead("matrix.there.test")
    async with internet.site(HELLO, "matrix.there.test") as site:
        delegated = f"matrix.there.test:{site.port}"
        async with internet.site(well_known(delegated), "there.test") as front:
            assert await asked(internet, tmp_path, "there.test", well_known_port=front.port) == HELLO
    assert (site.hosts, site.names) == ([delegated], ["matrix.there.test"])
    assert [request.path for request in front.asked] == ["/.well-known/matrix/server"]
    assert "Authorization" not in front.asked[0].headers


async def test_delegated_to_an_address(internet, tmp_path):
    internet.lead("there.test")
    async with internet.site(HELLO, "127.0.0.1") as site:
        delegated = f"127.0.0.1:{site.port}"
        async with internet.site(well_known(delegated), "there.test") as front:
            assert await asked(internet, tmp_path, "there.test", well_known_port=front.port) == HELLO
    assert site.hosts == [delegated]


@pytest.mark.parametrize("service", ["_matrix-fed._tcp", "_matrix._tcp"])
async def test_delegated_to_a_service(internet, tmp_path, service):
    internet.lead("there.test")
    internet.lead("host.there.test")
    async with internet.site(HELLO, "matrix.there.test") as site:
        internet.serve(f"{service}.matrix.there.test", site.port, "host.there.test")
        async with internet.site(well_known("matrix.there.test"), "there.test") as front:
            assert await asked(internet, tmp_path, "there.test", well_known_port=front.port) == HELLO
    assert (site.hosts, site.names) == (["matrix.there.test"], ["matrix.there.test"])


@pytest.mark.parametrize("service", ["_matrix-fed._tcp", "_matrix._tcp"])
async def test_a_service_of_the_name_itself(internet, tmp_path, service):
    """The certificate is for the name, not for where the record leads: DNS proves nothing."""
    internet.lead("host.there.test")
    async with internet.site(HELLO, "there.test") as site:
        internet.serve(f"{service}.there.test", site.port, "host.there.test")
        assert await asked(internet, tmp_path, "there.test") == HELLO
    assert (site.hosts, site.names) == (["there.test"], ["there.test"])


def moved(location, status=302):
    return web.Response(status=status, headers={"Location": location})


BAD_DELEGATIONS = [
    lambda request: web.Response(status=404),
    lambda request: web.Response(status=500),
    lambda request: web.Response(body=b"<html>"),
    lambda request: web.json_response({"m.server": "not a name"}),
    lambda request: web.Response(body=b" " * 60_000 + b'{"m.server": "wrong.test:1"}'),
    lambda request: moved("http://there.test/plain"),
    lambda request: moved(request.path),  # a circle
    lambda request: moved("https://10.1.2.3/inside"),
    lambda request: moved("https://user@there.test/"),
    lambda request: moved("https://there.test:99999/"),
    lambda request: moved("https://[::1/"),
]


@pytest.mark.parametrize("answer", BAD_DELEGATIONS)
async def test_a_bad_delegation_is_none(internet, tmp_path, answer):
    internet.lead("there.test")
    internet.lead("host.there.test")
    async with internet.site(HELLO, "there.test") as site, internet.site(answer, "there.test") as front:
        internet.serve("_matrix-fed._tcp.there.test", site.port, "host.there.test")
        assert await asked(internet, tmp_path, "there.test", well_known_port=front.port) == HELLO
    assert 1 <= len(front.asked) <= 6


async def test_redirects_are_followed(internet, tmp_path):
    internet.lead("there.test")
    internet.lead("www.there.test")
    async with internet.site(HELLO, "127.0.0.1") as site:
        good = well_known(f"127.0.0.1:{site.port}")
        async with internet.site(good, "www.there.test") as second:
            there = f"https://www.there.test:{second.port}/other?x=1"
            async with internet.site(lambda request: moved(there, 308), "there.test") as first:
                assert await asked(internet, tmp_path, "there.test", well_known_port=first.port) == HELLO
    assert [request.path_qs for request in second.asked] == ["/other?x=1"]


async def test_delegations_are_remembered(internet, tmp_path):
    async with (
        internet.delegated(HELLO) as (_, front),
        traveling(internet, tmp_path, well_known_port=front.port) as traveler,
    ):
        for _ in range(3):
            await traveler.requests.get("there.test", PATH)
            traveler.requests.resolver.forget("there.test")
    assert len(front.asked) == 1


async def test_a_delegation_outlives_its_host(internet, tmp_path):
    """The web site is down when its answer has to be fetched anew: the peer has not moved."""
    internet.lead("there.test")
    async with internet.site(HELLO, "127.0.0.1") as site, traveling(internet, tmp_path) as traveler:
        resolver = traveler.requests.resolver
        delegations, now = resolver.delegations, [1000.0]
        delegations.clock = resolver.clock = lambda: now[0]
        good = well_known(f"127.0.0.1:{site.port}", **{"Cache-Control": "max-age=600"})
        async with internet.site(good, "there.test") as front:
            delegations.port = front.port
            await traveler.requests.get("there.test", PATH)
        now[0] += 3700
        assert await traveler.requests.get("there.test", PATH) == HELLO
        now[0] += 48 * 3600
        with pytest.raises(PeerUnreachable, match=r"no address|onnect"):
            internet.names.addresses_of.clear()
            await traveler.requests.get("there.test", PATH)


async def test_dns_that_fails_ends_the_attempt(internet, tmp_path):
    """Without the answer about the service, port 8448 of the name would be a guess."""
    internet.lead("there.test")
    internet.names.failing.add("_matrix-fed._tcp.there.test")
    with pytest.raises(PeerUnreachable, match="no answer for _matrix-fed"):
        await asked(internet, tmp_path, "there.test")


async def test_a_name_without_addresses(internet, tmp_path):
    with pytest.raises(PeerUnreachable, match="no address"):
        await asked(internet, tmp_path, "nowhere.test")


@pytest.mark.parametrize("hosts", [("other.test",), ("host.there.test",)])
async def test_a_certificate_for_another_name(internet, tmp_path, hosts):
    internet.lead("host.there.test")
    async with internet.site(HELLO, *hosts) as site:
        internet.serve("_matrix-fed._tcp.there.test", site.port, "host.there.test")
        with pytest.raises(PeerUnreachable, match="certificate verify failed"):
            await asked(internet, tmp_path, "there.test")
    assert site.asked == []


async def test_a_certificate_of_a_name_for_an_address(internet, tmp_path):
    async with internet.site(HELLO, "there.test") as site:
        with pytest.raises(PeerUnreachable, match="certificate verify failed"):
            await asked(internet, tmp_path, f"127.0.0.1:{site.port}")


async def test_only_known_authorities(internet, tmp_path):
    async with internet.site(HELLO, "127.0.0.1", authority=trustme.CA()) as site:
        name = f"127.0.0.1:{site.port}"
        with pytest.raises(PeerUnreachable, match="certificate verify failed"):
            await asked(internet, tmp_path, name)
        assert await asked(internet, tmp_path, name, trust=Trust(verify=False)) == HELLO
        with pytest.raises(PeerUnreachable, match="certificate verify failed"):
            await asked(internet, tmp_path, name, trust=Trust())


@pytest.mark.parametrize("networks", [(), ("10.0.0.0/8",)])
async def test_private_networks_are_refused(internet, tmp_path, networks):
    """Whatever the name, the address is looked at when it is connected to."""
    internet.lead("there.test")
    async with internet.site(HELLO, "there.test", "127.0.0.1") as site:
        for host in ("there.test", "127.0.0.1", "[::ffff:127.0.0.1]"):
            with pytest.raises(PeerUnreachable, match="not a public address"):
                await asked(internet, tmp_path, f"{host}:{site.port}", networks=networks)
    assert site.asked == []


async def test_the_next_address_is_tried(internet, tmp_path):
    internet.names.addresses_of["there.test"] = ["10.0.0.1", "127.0.0.1"]
    async with internet.site(HELLO, "there.test") as site:
        assert await asked(internet, tmp_path, f"there.test:{site.port}") == HELLO


def test_on_uvloop(internet, tmp_path):
    internet.names.addresses_of["there.test"] = ["10.0.0.1", "127.0.0.1"]

    async def ask():
        async with internet.site(HELLO, "there.test") as site:
            with pytest.raises(PeerUnreachable, match="certificate verify failed"):
                await asked(internet, tmp_path, f"127.0.0.1:{site.port}")
            return await asked(internet, tmp_path, f"there.test:{site.port}")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(ask()) == HELLO


async def test_connections_are_kept(internet, tmp_path):
    internet.lead("there.test")
    async with internet.site(HELLO, "there.test") as site, traveling(internet, tmp_path) as traveler:
        for _ in range(3):
            await traveler.requests.get(f"there.test:{site.port}", PATH)
    assert len(site.asked) == 3
    assert len(site.names) == 1  # handshakes


async def test_requests_are_signed(internet, tmp_path):
    """Under the names from before delegation, over the target and the body as they were sent."""
    async with (
        internet.delegated({}) as (site, front),
        traveling(internet, tmp_path, well_known_port=front.port) as traveler,
    ):
        query = {"v": ["$1", "$2"], "n": 3}
        await traveler.requests.put("there.test", "/_matrix/x/%21a%2Fb", {"b": "ü", "a": 1}, query)
        await traveler.requests.get("there.test", "/_matrix/y")
    for request, body in zip(site.asked, site.bodies, strict=True):
        header = x_matrix.parse(request.headers["Authorization"])
        signed = x_matrix.SignedRequest(
            request.method, request.raw_path, US, "there.test", body if request.method == "PUT" else None
        )
        assert (header.origin, header.destination) == (US, "there.test")
        assert x_matrix.signature_holds(signed, header.signature, get_verify_key(KEY))
    assert site.asked[0].raw_path == "/_matrix/x/%21a%2Fb?v=%241&v=%242&n=3"
    assert site.bodies == ['{"a":1,"b":"ü"}'.encode(), b""]
    assert site.asked[0].headers["Content-Type"] == "application/json"
