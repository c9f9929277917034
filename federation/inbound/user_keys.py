"""Server-Server API, "End-to-End Encryption" and "Device Management": other servers ask for keys of our users."""

from typing import Any

import orjson
from attrs import frozen

from homeserver.core.errors import bad_json, not_found
from homeserver.core.ids import domain_of, is_user_id
from homeserver.services.device_keys import DeviceKeys
from homeserver.services.one_time_keys import OneTimeKeys
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result
from storage import device_updates, e2e_keys
from storage.accounts import find_account
from storage.e2e_keys import MASTER, SELF_SIGNING

MAX_BODY = 8 * 1024 * 1024


@frozen
class UserKeysApi:
    """POST /user/keys/query, POST /user/keys/claim, GET /user/devices/{userId}"""

    device_keys: DeviceKeys
    one_time_keys: OneTimeKeys

    def endpoints(self) -> list[Endpoint]:
        path = "/_matrix/federation/v1/user"
        return [
            Endpoint("POST", f"{path}/keys/query", self.query, auth=Auth.SERVER, max_body=MAX_BODY),
            Endpoint("POST", f"{path}/keys/claim", self.claim, auth=Auth.SERVER, max_body=MAX_BODY),
            Endpoint("GET", f"{path}/devices/{{userId}}", self.devices, auth=Auth.SERVER),
        ]

    async def query(self, call: Call) -> Result:
        wanted: dict[str, list[str]] = {}
        for user_id, ids in self._ours(call.field("device_keys", dict)).items():
            if ids is not None and not (isinstance(ids, list) and all(isinstance(one, str) for one in ids)):
                raise bad_json("device_keys must hold lists of device ids")
            wanted[user_id] = ids or []
        return (await self.device_keys.of_ours(wanted, names=False)).as_peers_see()

    async def claim(self, call: Call) -> Result:
        wanted = self._ours(call.field("one_time_keys", dict))
        for devices in wanted.values():
            if not isinstance(devices, dict) or not all(
                isinstance(one, str) and "\0" not in one + name for name, one in devices.items()
            ):
                raise bad_json("one_time_keys must name an algorithm for each device")
        return (await self.one_time_keys.claim_ours(wanted)).as_peers_see()

    async def devices(self, call: Call) -> Result:
        user_id = call.path["userId"]
        async with self.device_keys.database.read(snapshot=True) as conn:
            account = await find_account(conn, [user_id])
            if account is None:
                raise not_found("There is no such user")
            nid = account.user_nid
            stream_id = await device_updates.stream_id(conn, nid)
            devices = await e2e_keys.device_keys(conn, [nid])
            keys = {key.usage: key.json for key in await e2e_keys.cross_signing_keys(conn, [nid])}
        answer: dict[str, Any] = {
            "user_id": user_id,
            "stream_id": stream_id,
            "devices": [
                {"device_id": device.device_id, "keys": orjson.Fragment(device.json)} for device in devices
            ],
        }
        for name, usage in (("master_key", MASTER), ("self_signing_key", SELF_SIGNING)):
            if usage in keys:
                answer[name] = orjson.Fragment(keys[usage])
        return answer

    def _ours(self, values: dict[str, Any]) -> dict[str, Any]:
        """What is asked of users of ours; of others we say nothing."""
        ours = self.device_keys.server_name
        return {user: value for user, value in values.items() if is_user_id(user) and domain_of(user) == ours}
