"""Threads that users want to hear of [MSC4306], and the way back through what has changed of them [MSC4308]."""

from attrs import frozen

from client_api.visitor import page_limit, place, visitor
from homeserver.core.errors import MatrixError
from homeserver.core.tokens import page_token
from homeserver.services.thread_subscriptions import MAX_WINDOW, ThreadSubscriptions
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result
from storage.thread_subscriptions import Window

PATH = "/rooms/{roomId}/thread/{eventId}/subscription"
UNSTABLE, UNSTABLE_LIST = "/unstable/io.element.msc4306", "/unstable/io.element.msc4308"
PREFIX = "IO.ELEMENT.MSC4306."


@frozen
class ThreadSubscriptionsApi:
    """[MSC4306], [MSC4308]"""

    subscriptions: ThreadSubscriptions

    def endpoints(self) -> list[Endpoint]:
        rate = "other"
        return [
            Endpoint("GET", f"/v1{PATH}", self.get, also=(f"{UNSTABLE}{PATH}",), rate=rate),
            Endpoint("PUT", f"/v1{PATH}", self.put, rate=rate),
            Endpoint("PUT", f"{UNSTABLE}{PATH}", self.put_before, rate=rate),
            Endpoint("DELETE", f"/v1{PATH}", self.delete, also=(f"{UNSTABLE}{PATH}",), rate=rate),
            Endpoint(
                "GET",
                "/v1/thread_subscriptions",
                self.page,
                also=(f"{UNSTABLE_LIST}/thread_subscriptions",),
                rate=rate,
            ),
        ]

    async def get(self, call: Call) -> Result:
        found = await self.subscriptions.get(call.path["roomId"], visitor(call), call.path["eventId"])
        return {"automatic": found.automatic}

    async def put(self, call: Call) -> Result:
        cause = call.optional("automatic", str)
        await self.subscriptions.subscribe(call.path["roomId"], visitor(call), call.path["eventId"], cause)
        return {}

    async def put_before(self, call: Call) -> Result:
        """COMPAT(clients until the proposal is accepted): its own codes have a prefix."""
        try:
            return await self.put(call)
        except MatrixError as error:
            if error.errcode not in ("M_CONFLICTING_UNSUBSCRIPTION", "M_NOT_IN_THREAD"):
                raise
            raise MatrixError(error.status, PREFIX + error.errcode, error.message) from error

    async def delete(self, call: Call) -> Result:
        await self.subscriptions.unsubscribe(call.path["roomId"], visitor(call), call.path["eventId"])
        return {}

    async def page(self, call: Call) -> Result:
        call.query.choice("dir", ("b",), "b")
        limit = max(1, page_limit(call, MAX_WINDOW, MAX_WINDOW))
        wanted = Window(after=place(call, "to") or 0, before=place(call, "from"), limit=limit)
        answer, end = await self.subscriptions.page(call.requester.user_nid, wanted)
        return answer if end is None else {**answer, "end": page_token(end)}
