"""Client-Server API, "Receipts"."""

from collections.abc import Callable

from attrs import frozen

from homeserver.core.errors import invalid_param
from homeserver.services.receipts import KINDS, Mark, Receipts
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result


@frozen
class ReceiptsApi:
    """[cs "Receipts"]"""

    receipts: Receipts
    active: Callable[[int], None]  # told of users who have just done something

    def endpoints(self) -> list[Endpoint]:
        path = "/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}"
        return [Endpoint("POST", path, self.put, rate="other", empty_body=True)]

    async def put(self, call: Call) -> Result:
        kind = call.path["receiptType"]
        if kind not in KINDS:
            raise invalid_param(f"The receipt type must be one of: {', '.join(KINDS)}")
        mark = Mark(kind, call.path["eventId"], _thread(call))
        await self.receipts.put(call.requester.user_nid, call.path["roomId"], [mark])
        self.active(call.requester.user_nid)
        return {}


def _thread(call: Call) -> str:
    """The thread; empty: none."""
    thread_id = call.body.get("thread_id")
    if thread_id is None:
        return ""
    if not isinstance(thread_id, str) or not thread_id or "\x00" in thread_id:
        raise invalid_param("thread_id must be a non-empty string")
    return thread_id
