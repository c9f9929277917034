"""Federation: how its parts are connected, what other servers may ask, and what runs beside."""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from attrs import frozen

from federation.inbound.keys_server import KeysServerApi
from federation.inbound.version import VersionApi
from federation.protocol.key_responses import RetiredKey
from homeserver.app.foundation import Foundation
from homeserver.app.version import NAME, VERSION
from homeserver.web.endpoint import Endpoint


@frozen
class FederationParts:
    """What `assemble` takes over: endpoints to serve, tasks to run while we serve."""

    endpoints: list[Endpoint]
    tasks: Mapping[str, Callable[[], Awaitable[None]]]


def federation_parts(foundation: Foundation, retired: Iterable[RetiredKey]) -> FederationParts:
    """Everything that talks to other servers or answers them."""
    endpoints = [
        *VersionApi(NAME, VERSION).endpoints(),
        *KeysServerApi(foundation.identity, tuple(retired)).endpoints(),
    ]
    return FederationParts(endpoints, tasks={})
