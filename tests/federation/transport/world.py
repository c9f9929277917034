"""A small internet on loopback: names that lead where a test says, and real TLS servers with certificates."""

import asyncio
import functools
import ssl
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from unittest.mock import sentinel

import trustme
from aiohttp import web
from attrs import define, field
from prometheus_client import CollectorRegistry
from signedjson.key import generate_signing_key

from federation.backoff import Destinations
from federation.metrics import FederationMetrics
from federation.peers import Peers
from federation.protocol.srv import ServiceRecord
from federation.transport.connect import Outside, Trust
from federation.transport.delegations import Delegations
from federation.transport.name_servers import Addresses, LookupFailed, Services
from federation.transport.requests import PeerRequests
from federation.transport.resolver import Resolver
from homeserver.core.backoff import Backoff
from homeserver.core.event_build import Signer
from homeserver.core.networks import Networks

US = "us.test"
KEY = generate_signing_key("k1")
LOOPBACK = ("127.0.0.0/8", "::1/128")
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@define
class Names:
    """What DNS says; a name in `failing` gets no answer from any name server."""

    services_of: dict[str, list[ServiceRecord]] = field(factory=dict)
    addresses_of: dict[str, list[str]] = field(factory=dict)
    failing: set[str] = field(factory=set)
    asked: list[str] = field(factory=list)
    ttl: float = 300

    async def services(self, name):
        self._ask(name)
        return Services(self.services_of.get(name, []), self.ttl)

    async def addresses(self, host):
        self._ask(host)
        return Addresses(self.addresses_of.get(host, []), self.ttl)

    def _ask(self, name):
        self.asked.append(name)
        if name in self.failing:
            raise LookupFailed(f"no answer for {name}")


@define
class Site:
    """A TLS server: what it was asked, under which Host header and which SNI."""

    port: int
    asked: list[web.BaseRequest] = field(factory=list)
    names: list[str | None] = field(factory=list)
    bodies: list[bytes] = field(factory=list)

    @property
    def hosts(self):
        return [request.headers["Host"] for request in self.asked]


@functools.cache
def _authority():
    return trustme.CA()


def well_known(server, **headers):
    """What a web site answers that delegates."""
    return lambda request: web.json_response({"m.server": server}, headers=headers)


@define
class Internet:
    """An authority, names, and the sites that were opened; `address` is where all sites listen."""

    authority: trustme.CA = field(factory=_authority)  # one for all tests
    names: Names = field(factory=Names)

    def certificate(self, *hosts, authority=None):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        (authority or self.authority).issue_cert(*hosts).configure_cert(context)
        return context

    @asynccontextmanager
    async def site(self, answer, *hosts, authority=None):
        """A server with a certificate for the hosts. `answer(request, body)` gives a response or a JSON value."""
        tls = self.certificate(*hosts, authority=authority)
        site = Site(0)
        tls.sni_callback = lambda _, name, __: site.names.append(name)

        async def handle(request):
            site.asked.append(request)
            site.bodies.append(await request.read())
            given = answer(request) if callable(answer) else answer
            if asyncio.iscoroutine(given):
                given = await given
            return given if isinstance(given, web.StreamResponse) else web.json_response(given)

        server = web.Server(handle)
        listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0, ssl=tls)
        site.port = listener.sockets[0].getsockname()[1]
        try:
            yield site
        finally:
            listener.close()
            await server.shutdown(0.01)
            await listener.wait_closed()

    @asynccontextmanager
    async def delegated(self, answer):
        """there.test, whose web site delegates to a server elsewhere; gives that server and the web site."""
        self.lead("there.test")
        async with (
            self.site(answer, "127.0.0.1") as site,
            self.site(well_known(f"127.0.0.1:{site.port}"), "there.test") as front,
        ):
            yield site, front

    @asynccontextmanager
    async def raw(self, serve: Serve, *hosts):
        """A TLS server that speaks whatever `serve` writes; gives its port."""
        running = set()

        async def handle(reader, writer):
            running.add(asyncio.current_task())
            try:
                await serve(reader, writer)
            except (ConnectionError, asyncio.CancelledError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=self.certificate(*hosts))
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def lead(self, host, address="127.0.0.1"):
        self.names.addresses_of[host] = [address]

    def serve(self, name, port, target):
        """An SRV record."""
        self.names.services_of[name] = [ServiceRecord(0, 0, port, f"{target}.")]


@define
class Traveler:
    """Our end: everything between a server name and an answer."""

    requests: PeerRequests
    outside: Outside
    registry: CollectorRegistry

    def outcomes(self):
        """How often requests ended how."""
        samples = [sample for metric in self.registry.collect() for sample in metric.samples]
        return {
            sample.labels["outcome"]: int(sample.value)
            for sample in samples
            if sample.name.endswith("_total")
        }


@asynccontextmanager
async def traveling(
    internet,
    tmp_path,
    *,
    networks=LOOPBACK,
    well_known_port=1,
    database=sentinel.none,
    peers=None,
    trust=None,
):
    """Requests out into the internet. Nothing is delegated by well-known unless its port is told."""
    authorities = tmp_path / "authorities.pem"
    internet.authority.cert_pem.write_to_path(str(authorities))
    outside = Outside(Networks(networks), (trust or Trust(authorities)).context())
    registry = CollectorRegistry()
    resolver = Resolver(internet.names, Delegations(outside, internet.names, port=well_known_port))
    destinations = Destinations(database, Backoff(first=60))
    metrics = FederationMetrics(registry)
    requests = PeerRequests(Signer(US, KEY), peers or Peers(US), resolver, outside, destinations, metrics)
    try:
        yield Traveler(requests, outside, registry)
    finally:
        await resolver.close()
        await outside.close()
