"""End-to-end encryption: how its services are connected, and what of them clients may ask."""

from attrs import frozen

from client_api.cross_signing import CrossSigningApi
from client_api.dehydrated_device import DehydratedDeviceApi
from client_api.device_keys import DeviceKeysApi
from client_api.key_backup import KeyBackupApi
from client_api.send_to_device import SendToDeviceApi
from homeserver.app.account_parts import AccountParts
from homeserver.app.config import Config
from homeserver.app.foundation import Foundation
from homeserver.services.cross_signing import CrossSigning
from homeserver.services.dehydrated_devices import DehydratedDevices
from homeserver.services.device_keys import DeviceKeys
from homeserver.services.key_backup import KeyBackups
from homeserver.services.key_signatures import KeySignatures
from homeserver.services.key_uploads import KeyUploads
from homeserver.services.one_time_keys import OneTimeKeys
from homeserver.services.sync_devices import KeyChanges, SyncDevices
from homeserver.services.to_device import ToDevice
from homeserver.web.endpoint import Endpoint


@frozen
class EncryptionParts:
    """The services of keys and of messages to devices."""

    uploads: KeyUploads
    device_keys: DeviceKeys
    one_time_keys: OneTimeKeys
    to_device: ToDevice


def encryption_parts(config: Config, foundation: Foundation, accounts: AccountParts) -> EncryptionParts:
    """Connect them."""
    database, committer, state_keys = foundation.database, foundation.committer, foundation.state_keys
    server_name = config.server.name
    return EncryptionParts(
        KeyUploads(database, committer, accounts.device_lists),
        DeviceKeys(database, state_keys, server_name),
        OneTimeKeys(database, committer, state_keys, server_name),
        ToDevice(database, committer, state_keys, server_name),
    )


def encryption_endpoints(
    foundation: Foundation, accounts: AccountParts, parts: EncryptionParts
) -> list[Endpoint]:
    """What clients may ask."""
    cross_signing = CrossSigning(foundation.database, foundation.committer, accounts.device_lists)
    signatures = KeySignatures(foundation.committer, accounts.device_lists, parts.device_keys)
    sleepers = DehydratedDevices(foundation.database, accounts.device_lists, accounts.sessions, parts.uploads)
    changes = KeyChanges(foundation.database, SyncDevices(foundation.reader, foundation.state_keys))
    return [
        *DeviceKeysApi(parts.uploads, parts.device_keys, parts.one_time_keys, changes).endpoints(),
        *CrossSigningApi(cross_signing, signatures, accounts.interactive_auth).endpoints(),
        *SendToDeviceApi(parts.to_device).endpoints(),
        *KeyBackupApi(KeyBackups(foundation.database)).endpoints(),
        *DehydratedDeviceApi(sleepers).endpoints(),
    ]
