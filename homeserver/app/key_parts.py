"""Keys of servers: how the key ring, what is checked by it, and what we tell others of keys are connected."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from attrs import frozen

from federation.authentication import ServerAuthentication
from federation.client.keys import KeyRequests
from federation.inbound.keys_query import KeysQueryApi
from federation.inbound.keys_server import KeysServerApi
from federation.keyring import KeyRing, own_keys
from federation.keys.lookups import KeyLookups
from federation.keys.notaries import KeyNotaries
from federation.keys.records import KeyRecords
from federation.protocol.key_responses import RetiredKey
from federation.verify import PduChecks
from homeserver.app.foundation import Foundation
from homeserver.app.peer_parts import PeerParts
from homeserver.web.endpoint import Endpoint


@frozen
class KeyParts:
    """`checks` is for events of others, `authentication` for their requests."""

    ring: KeyRing
    checks: PduChecks
    authentication: ServerAuthentication
    endpoints: list[Endpoint]
    tasks: Mapping[str, Callable[[], Awaitable[None]]]


def key_parts(
    foundation: Foundation, peers: PeerParts, retired: Sequence[RetiredKey], notaries: Sequence[str]
) -> KeyParts:
    """Everything about servers' keys. `retired` are ours, `notaries` the key servers that the operator trusts."""
    signer, database = foundation.identity.signer, foundation.database
    asking = KeyRequests(peers.requests)
    records = KeyRecords(database)
    lookups = KeyLookups(asking.server_keys, records)
    ring = KeyRing(
        own_keys(signer.server_name, signer.key, retired),
        records,
        lookups,
        KeyNotaries(notaries, asking.notary, lookups, records),
    )
    published = KeysServerApi(foundation.identity, tuple(retired))
    return KeyParts(
        ring,
        PduChecks(ring),
        ServerAuthentication(ring, peers.peers, peers.destinations.spoke_to_us),
        [*published.endpoints(), *KeysQueryApi(published, database, lookups).endpoints()],
        {"key look-ups": lookups.run},
    )
