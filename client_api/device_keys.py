"""Client-Server API, "Key management API": keys of devices, published, looked up and claimed."""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from homeserver.core.device_keys import check_complete
from homeserver.core.errors import MatrixError, bad_json
from homeserver.core.ids import is_user_id
from homeserver.core.tokens import parse_sync_token
from homeserver.services.device_keys import DeviceKeys
from homeserver.services.device_owner import DeviceOwner
from homeserver.services.key_uploads import KeyUploads, Upload
from homeserver.services.one_time_keys import OneTimeKeys
from homeserver.services.sync_devices import KeyChanges
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result

PATIENCE = 10_000  # ms that a client waits for other servers if it does not say [cs "POST /keys/query"]
MAX_PATIENCE = 60_000
OLD_UPLOAD = ("/v3/keys/upload/{deviceId}",)  # COMPAT(older clients, until none names its device)


@frozen
class DeviceKeysApi:
    """[cs "Key management API"]"""

    uploads: KeyUploads
    device_keys: DeviceKeys
    one_time_keys: OneTimeKeys
    changes: KeyChanges

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("POST", "/v3/keys/upload", self.upload, auth=Auth.GUEST_OK, also=OLD_UPLOAD),
            Endpoint("POST", "/v3/keys/query", self.query, auth=Auth.GUEST_OK),
            Endpoint("POST", "/v3/keys/claim", self.claim, auth=Auth.GUEST_OK),
            Endpoint("GET", "/v3/keys/changes", self.changed),
        ]

    async def upload(self, call: Call) -> Result:
        device_keys: dict[str, Any] | None = call.optional("device_keys", dict)
        if device_keys is not None:
            check_complete(device_keys)
        upload = Upload(
            device_keys=device_keys,
            one_time_keys=call.optional("one_time_keys", dict, {}),
            fallback_keys=_fallback_keys(call),
        )
        return {"one_time_key_counts": await self.uploads.upload(owner_of(call), upload)}

    async def query(self, call: Call) -> Result:
        wanted = {user: _device_ids(ids) for user, ids in _users(call.field("device_keys", dict)).items()}
        return (await self.device_keys.query(call.requester.user_nid, wanted, _patience(call))).as_json()

    async def claim(self, call: Call) -> Result:
        wanted = {
            user: _algorithms(named) for user, named in _users(call.field("one_time_keys", dict)).items()
        }
        return (await self.one_time_keys.claim(wanted, _patience(call))).as_json()

    async def changed(self, call: Call) -> Result:
        since = parse_sync_token(call.query.string("from"))
        parse_sync_token(call.query.string("to"))
        return await self.changes.since(call.requester.user_nid, since)


def owner_of(call: Call) -> DeviceOwner:
    """The device that asks. Raises M_UNKNOWN where the token belongs to none (an application service)."""
    who = call.requester
    if who.device_id is None or who.device_nid is None:
        raise MatrixError(400, "M_UNKNOWN", "To have keys, you need a device: pass a device_id")
    return DeviceOwner(who.user_id, who.user_nid, who.device_id, who.device_nid)


def _fallback_keys(call: Call) -> dict[str, Any]:
    unstable: dict[str, Any] = call.optional("org.matrix.msc2732.fallback_keys", dict, {})
    stable: dict[str, Any] = call.optional("fallback_keys", dict, {})
    return {**unstable, **stable}


def _patience(call: Call) -> float:
    """Seconds to wait for other servers."""
    timeout = call.optional("timeout", int, PATIENCE)
    return max(0, min(timeout, MAX_PATIENCE)) / 1000


def _users(values: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked of each user; what cannot be one has no keys."""
    return {user_id: value for user_id, value in values.items() if is_user_id(user_id)}


def _device_ids(value: Any) -> list[str]:
    # COMPAT(matrix-nio and older ones, until they send lists): anything empty means all
    if not value and (value is None or isinstance(value, (dict, list))):
        return []
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise bad_json("device_keys must hold lists of device ids")
    return value


def _algorithms(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(
        isinstance(one, str) and "\0" not in one and "\0" not in name for name, one in value.items()
    ):
        raise bad_json("one_time_keys must name an algorithm for each device")
    return value
