"""Client-Server API, "Fully read markers"."""

from collections.abc import Callable

from attrs import frozen

from homeserver.services.receipts import Receipts, marks_of
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result


@frozen
class ReadMarkers:
    """[cs "Fully read markers"]"""

    receipts: Receipts
    active: Callable[[int], None]  # told of users who have just done something

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("POST", "/v3/rooms/{roomId}/read_markers", self.put, rate="other", empty_body=True)]

    async def put(self, call: Call) -> Result:
        await self.receipts.put(call.requester.user_nid, call.path["roomId"], marks_of(call.body))
        self.active(call.requester.user_nid)
        return {}
