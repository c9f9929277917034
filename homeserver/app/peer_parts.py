"""The way to other servers: what all parts that ask them share."""

import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping

from attrs import frozen
from prometheus_client import CollectorRegistry

from federation.backoff import Destinations
from federation.metrics import FederationMetrics
from federation.peers import Peers
from federation.transport.connect import Outside, Trust
from federation.transport.delegations import Delegations
from federation.transport.name_servers import SystemNameServers
from federation.transport.requests import PeerRequests
from federation.transport.resolver import Resolver
from homeserver.app.config import Config
from homeserver.app.foundation import Foundation
from homeserver.app.key_files import UnusableKeyFile
from homeserver.core.backoff import Backoff
from homeserver.core.networks import Networks


@frozen
class PeerParts:
    """`requests` asks; `destinations` knows whom it makes sense to ask; `peers` whom the operator lets us."""

    requests: PeerRequests
    tasks: Mapping[str, Callable[[], Awaitable[None]]]

    @property
    def destinations(self) -> Destinations:
        return self.requests.destinations

    @property
    def peers(self) -> Peers:
        return self.requests.peers

    @property
    def metrics(self) -> FederationMetrics:
        return self.requests.metrics


def peer_parts(config: Config, foundation: Foundation, registry: CollectorRegistry) -> PeerParts:
    """Everything between a server name and an answer."""
    options = config.federation
    outside = Outside(
        Networks(options.allowed_networks),
        trusted(config, options.certificate_authorities, verify=options.verify_certificates),
        most_connections=options.connections,
    )
    name_servers = SystemNameServers()
    resolver = Resolver(name_servers, Delegations(outside, name_servers))
    destinations = Destinations(foundation.database, Backoff(options.first_retry, options.longest_retry))

    async def keep() -> None:
        async with contextlib.AsyncExitStack() as closing:
            closing.push_async_callback(outside.close)
            closing.push_async_callback(resolver.close)
            await destinations.run()

    requests = PeerRequests(
        foundation.identity.signer,
        Peers(config.server.name, options.enabled, options.allowed_servers, options.denied_servers),
        resolver,
        outside,
        destinations,
        FederationMetrics(registry),
    )
    return PeerParts(requests, {"destinations": keep})


def trusted(config: Config, named: str, *, verify: bool = True) -> ssl.SSLContext:
    """Whose certificates we take: those the machine trusts, and those in a file."""
    authorities = config.server.folder / named if named else None
    try:
        return Trust(authorities, verify).context()
    except OSError as cause:  # ssl.SSLError is one
        raise UnusableKeyFile(f"{authorities} holds no certificates of authorities: {cause}") from cause
