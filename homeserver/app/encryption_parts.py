"""End-to-end encryption: how its services are connected, and what of them clients and other servers may ask."""

from collections.abc import Awaitable, Callable, Mapping

from attrs import frozen

from client_api.cross_signing import CrossSigningApi
from client_api.dehydrated_device import DehydratedDeviceApi
from client_api.device_keys import DeviceKeysApi
from client_api.key_backup import KeyBackupApi
from client_api.send_to_device import SendToDeviceApi
from federation.client.keys import KeyRequests
from federation.device_lists import RemoteDeviceLists
from federation.device_resync import DeviceResync, Fetching
from federation.edus import AllAtOnce, Handlers
from federation.inbound.user_keys import UserKeysApi
from federation.outbound_device_lists import DeviceListSource
from federation.outbound_edus import EduSource
from federation.remote_keys import RemoteKeys
from homeserver.app.account_parts import AccountParts
from homeserver.app.foundation import Foundation
from homeserver.app.peer_parts import PeerParts
from homeserver.services.application_services.proxied_keys import ServiceKeys
from homeserver.services.cross_signing import CrossSigning
from homeserver.services.dehydrated_devices import DehydratedDevices
from homeserver.services.device_keys import DeviceKeys
from homeserver.services.key_backup import KeyBackups
from homeserver.services.key_signatures import KeySignatures
from homeserver.services.key_uploads import KeyUploads
from homeserver.services.leftovers import Leftovers
from homeserver.services.oauth.account_proofs import AccountProofs
from homeserver.services.one_time_keys import OneTimeKeys
from homeserver.services.sync_devices import KeyChanges, SyncDevices
from homeserver.services.to_device import ToDevice
from homeserver.web.endpoint import Endpoint


@frozen
class EncryptionParts:
    """What `assemble` takes over: endpoints, and what takes part in federation."""

    endpoints: list[Endpoint]
    handlers: Handlers
    sources: list[EduSource]
    tasks: Mapping[str, Callable[[], Awaitable[None]]]


def encryption_parts(
    foundation: Foundation, accounts: AccountParts, peers: PeerParts, service_keys: ServiceKeys
) -> EncryptionParts:
    """Keys of devices and users, and messages between devices."""
    database, committer, state_keys = foundation.database, foundation.committer, foundation.state_keys
    name, lists, requests = (
        foundation.identity.server_name,
        accounts.device_lists,
        KeyRequests(peers.requests),
    )
    resync = DeviceResync(Fetching(requests, peers.destinations, lists, state_keys))
    remote = RemoteKeys(database, state_keys, requests, resync.wake, resync.now)
    keys = DeviceKeys(database, state_keys, name, remote.query, service_keys.add_keys)
    one_time = OneTimeKeys(database, committer, state_keys, name, remote.claim, service_keys)
    to_device = ToDevice(database, committer, state_keys, name)
    told = RemoteDeviceLists(lists, state_keys, resync.wake)
    return EncryptionParts(
        [
            *client_endpoints(foundation, accounts, keys, one_time),
            *SendToDeviceApi(to_device).endpoints(),
            *UserKeysApi(keys, one_time).endpoints(),
        ],
        {
            "m.direct_to_device": AllAtOnce(to_device.receive),
            "m.device_list_update": AllAtOnce(told.device_list_updates),
            "m.signing_key_update": AllAtOnce(told.signing_key_updates),
        },
        [DeviceListSource(database, state_keys, foundation.room_servers, name)],
        {"device lists": resync.run, "leftovers": Leftovers(database).run},
    )


def client_endpoints(
    foundation: Foundation, accounts: AccountParts, keys: DeviceKeys, one_time_keys: OneTimeKeys
) -> list[Endpoint]:
    """What clients may do with keys."""
    database, committer, lists = foundation.database, foundation.committer, accounts.device_lists
    uploads = KeyUploads(database, committer, lists)
    changes = KeyChanges(database, SyncDevices(foundation.reader, foundation.state_keys))
    crossing, signatures = CrossSigning(database, committer, lists), KeySignatures(committer, lists, keys)
    sleepers = DehydratedDevices(database, lists, accounts.sessions, uploads)
    proofs = AccountProofs(database, accounts.logins.passwords)
    return [
        *DeviceKeysApi(uploads, keys, one_time_keys, changes).endpoints(),
        *CrossSigningApi(crossing, signatures, accounts.interactive_auth, proofs).endpoints(),
        *KeyBackupApi(KeyBackups(database)).endpoints(),
        *DehydratedDeviceApi(sleepers).endpoints(),
    ]
