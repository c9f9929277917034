"""What other servers may ask."""

from collections.abc import Iterable

from federation.inbound.keys_server import KeysServerApi
from federation.inbound.version import VersionApi
from federation.protocol.key_responses import RetiredKey
from homeserver.app.foundation import Foundation
from homeserver.app.version import NAME, VERSION
from homeserver.web.endpoint import Endpoint


def federation_endpoints(foundation: Foundation, retired: Iterable[RetiredKey]) -> list[Endpoint]:
    """Everything that other servers may ask."""
    return [
        *VersionApi(NAME, VERSION).endpoints(),
        *KeysServerApi(foundation.identity, tuple(retired)).endpoints(),
    ]
