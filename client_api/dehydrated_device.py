"""Dehydrated devices, as clients use them before the specification has them [MSC3814]."""

import orjson
from attrs import frozen

from client_api.login import checked_display_name
from homeserver.core.tokens import page_token, parse_page_token
from homeserver.services.dehydrated_devices import DehydratedDevices, Sleeper
from homeserver.services.key_uploads import Upload
from homeserver.services.sync_passing import inbox_events
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result

PATH = "/unstable/org.matrix.msc3814.v1/dehydrated_device"


@frozen
class DehydratedDeviceApi:
    """[MSC3814]"""

    devices: DehydratedDevices

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("PUT", PATH, self.put, rate="other"),
            Endpoint("GET", PATH, self.get),
            Endpoint("DELETE", PATH, self.delete, rate="other", empty_body=True),
            Endpoint("POST", f"{PATH}/{{deviceId}}/events", self.events, empty_body=True),
        ]

    async def put(self, call: Call) -> Result:
        name = call.optional("initial_device_display_name", str)
        if name is not None:
            checked_display_name(name)
        keys = Upload(
            device_keys=call.field("device_keys", dict),
            one_time_keys=call.optional("one_time_keys", dict, {}),
            fallback_keys=call.optional("fallback_keys", dict, {}),
        )
        sleeper = Sleeper(
            device_id=call.field("device_id", str),
            data=call.field("device_data", dict),
            display_name=name,
            keys=keys,
        )
        await self.devices.put(call.requester.user_id, call.requester.user_nid, sleeper)
        return {"device_id": sleeper.device_id}

    async def get(self, call: Call) -> Result:
        found = await self.devices.one(call.requester.user_nid)
        return {"device_id": found.device_id, "device_data": orjson.Fragment(found.data)}

    async def delete(self, call: Call) -> Result:
        return {"device_id": await self.devices.delete(call.requester.user_nid)}

    async def events(self, call: Call) -> Result:
        since = call.optional("next_batch", str)
        after = parse_page_token(since) if since else 0
        messages = await self.devices.messages(call.requester.user_nid, call.path["deviceId"], after)
        last = messages[-1].position if messages else after
        return {"events": inbox_events(messages), "next_batch": page_token(last)}
