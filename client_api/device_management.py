"""Client-Server API, "Device Management"."""

from attrs import frozen

from client_api.login import checked_display_name
from homeserver.core.errors import missing_param
from homeserver.services.auth_stages import PASSWORD
from homeserver.services.devices import Devices
from homeserver.services.interactive_auth import Ask, InteractiveAuth, JSONObject
from homeserver.services.sessions import MAX_DEVICE_ID
from homeserver.web import fields
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Reply, Result

MAX_DELETED = 1000  # devices in one request


@frozen
class DeviceManagementApi:
    """[cs "Device Management"]"""

    devices: Devices
    interactive_auth: InteractiveAuth

    def endpoints(self) -> list[Endpoint]:
        one = "/v3/devices/{deviceId}"
        return [
            Endpoint("GET", "/v3/devices", self.all, auth=Auth.GUEST_OK),
            Endpoint("GET", one, self.one, auth=Auth.GUEST_OK),
            Endpoint("PUT", one, self.rename, auth=Auth.GUEST_OK, rate="other"),
            Endpoint("DELETE", one, self.delete, rate="other", empty_body=True),
            Endpoint("POST", "/v3/delete_devices", self.delete_several, rate="other"),
        ]

    async def all(self, call: Call) -> Result:
        return {"devices": await self.devices.all(call.requester.user_nid)}

    async def one(self, call: Call) -> Result:
        return await self.devices.one(call.requester.user_nid, call.path["deviceId"])

    async def rename(self, call: Call) -> Result:
        name = call.optional("display_name", str)
        if name is not None:
            checked_display_name(name)
        requester, device_id = call.requester, call.path["deviceId"]
        creates = (
            requester.appservice is not None and len(device_id) <= MAX_DEVICE_ID
        )  # since v1.17 [MSC4190]
        if creates and await self.devices.create(requester.user_nid, device_id, name):
            return Reply(201, {})
        await self.devices.rename(requester.user_nid, device_id, name)
        return {}

    async def delete(self, call: Call) -> Result:
        device_id = call.path["deviceId"]
        await self._authenticated(call, f"delete device {device_id}")
        await self.devices.delete(call.requester.user_nid, [device_id])
        return {}

    async def delete_several(self, call: Call) -> Result:
        _device_ids(call.body, required=False)
        request = await self._authenticated(call, "delete devices")
        await self.devices.delete(call.requester.user_nid, _device_ids(request))
        return {}

    async def _authenticated(self, call: Call, purpose: str) -> JSONObject:
        """Deleting a device needs the password again: the token may be in wrong hands.

        Application services have none to give [as "Device management"].
        """
        if call.requester.appservice is not None:
            return call.body
        user_id = call.requester.user_id
        flows = ((PASSWORD,),)
        ask = Ask(purpose=f"{purpose} of {user_id}", body=call.body, flows=flows, user_id=user_id)
        return (await self.interactive_auth.pass_through(ask)).request


def _device_ids(request: JSONObject, *, required: bool = True) -> list[str]:
    if "devices" not in request and required:
        raise missing_param("devices")
    return fields.strings(request, "devices")[:MAX_DELETED]
