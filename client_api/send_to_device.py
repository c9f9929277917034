"""Client-Server API, "Send-to-Device messaging"."""

from attrs import frozen

from homeserver.core.errors import missing_param
from homeserver.services.to_device import Sending, ToDevice, checked_messages
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result

MAX_BODY = 8 * 1024 * 1024  # room keys for a thousand devices and more


@frozen
class SendToDeviceApi:
    """[cs "Send-to-Device messaging"]"""

    to_device: ToDevice

    def endpoints(self) -> list[Endpoint]:
        path = "/v3/sendToDevice/{eventType}/{txnId}"
        return [Endpoint("PUT", path, self.send, auth=Auth.GUEST_OK, max_body=MAX_BODY)]

    async def send(self, call: Call) -> Result:
        if "messages" not in call.body:
            raise missing_param("messages")
        who = call.requester
        sending = Sending(
            sender=who.user_id,
            type=call.path["eventType"],
            txn_owner=who.device_nid if who.device_nid is not None else -who.user_nid,
            txn_id=call.path["txnId"],
            messages=checked_messages(call.body["messages"]),
        )
        await self.to_device.send(sending)
        return {}
