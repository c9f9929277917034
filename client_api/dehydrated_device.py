"""Dehydrated devices, as clients use them before the specification has them [MSC3814]."""

import orjson
from attrs import frozen

from client_api.login import checked_display_name
from homeserver.core.tokens import page_token, parse_page_token
from homeserver.services.dehydrated_devices import EVENTS, DehydratedDevices, Sleeper
from homeserver.services.key_uploads import Upload
from homeserver.services.sync_passing import inbox_events
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result
from storage.user_news import Message

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
            Endpoint("GET", f"{PATH}/{{deviceId}}/events", self.events),
            Endpoint("POST", f"{PATH}/{{deviceId}}/events", self.events_as_of_old, empty_body=True),
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
        messages, following = await self._read(call, call.query.string("from", ""))
        answer = {"events": inbox_events(messages)}
        return answer if len(messages) < EVENTS else {**answer, "next_batch": following}

    async def events_as_of_old(self, call: Call) -> Result:
        """COMPAT(matrix-rust-sdk, until it reads with GET): they end with an answer without any."""
        messages, following = await self._read(call, call.optional("next_batch", str))
        return {"events": inbox_events(messages), "next_batch": following}

    async def _read(self, call: Call, since: str | None) -> tuple[list[Message], str]:
        """What waits behind a token, and the token for the rest."""
        after = parse_page_token(since) if since else 0
        messages = await self.devices.messages(call.requester.user_nid, call.path["deviceId"], after)
        return messages, page_token(messages[-1].position if messages else after)
