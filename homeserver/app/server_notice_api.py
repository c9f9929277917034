"""What operators' tools ask to tell users something; the paths are those that existing tools use."""

from typing import Any

from attrs import frozen

from homeserver.core.errors import bad_json
from homeserver.services.growth import Once
from homeserver.services.server_notices import Notice, ServerNotices
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result


@frozen
class ServerNoticeApi:
    """POST /_synapse/admin/v1/send_server_notice, and PUT with a transaction id."""

    notices: ServerNotices

    def endpoints(self) -> list[Endpoint]:
        path = "/_synapse/admin/v1/send_server_notice"
        return [
            Endpoint("POST", path, self.send, auth=Auth.ADMIN),
            Endpoint("PUT", f"{path}/{{txnId}}", self.send, auth=Auth.ADMIN),
        ]

    async def send(self, call: Call) -> Result:
        body: dict[str, Any] = call.canonical_body()
        content = call.field("content", dict)
        kind = call.optional("type", str, "m.room.message")
        if not kind or (kind == "m.room.message" and "body" not in content):
            raise bad_json("A message must have a body")
        once = None
        if "txnId" in call.path and call.requester.device_nid is not None:
            once = Once(call.requester.device_nid, "n" + call.path["txnId"])
        notice = Notice(body["content"], kind, call.optional("state_key", str), once)
        return {"event_id": await self.notices.send(call.field("user_id", str), notice)}
