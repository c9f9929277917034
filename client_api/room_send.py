"""Client-Server API, "Sending events to a room" and "Redactions"."""

from collections.abc import Callable

from attrs import frozen

from client_api.delayed_events import DelayedEventsApi, delay_of
from client_api.drafts import once, timestamp
from homeserver.core.event_build import Draft
from homeserver.services.room_sending import REDACTION, RoomSending
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result


@frozen
class RoomSend:
    """Messages, state and redactions."""

    sending: RoomSending
    active: Callable[[int], None]  # told of users who have just done something
    later: DelayedEventsApi

    def endpoints(self) -> list[Endpoint]:
        guest = Auth.GUEST_OK  # since v1.2 guests send anything [cs "Guest Access"]
        return [
            Endpoint(
                "PUT", "/v3/rooms/{roomId}/send/{eventType}/{txnId}", self.send, auth=guest, rate="message"
            ),
            Endpoint(
                "PUT",
                "/v3/rooms/{roomId}/state/{eventType}/{stateKey}",
                self.set_state,
                also=("/v3/rooms/{roomId}/state/{eventType}",),
                auth=guest,
                rate="message",
                suspended=False,
            ),
            Endpoint("PUT", "/v3/rooms/{roomId}/redact/{eventId}/{txnId}", self.redact, rate="message"),
            # COMPAT(clients of before r0, SyTest): each request is another event.
            Endpoint("POST", "/v3/rooms/{roomId}/send/{eventType}", self.send, auth=guest, rate="message"),
            Endpoint("POST", "/v3/rooms/{roomId}/redact/{eventId}", self.redact, rate="message"),
        ]

    async def send(self, call: Call) -> Result:
        draft = Draft(
            call.path["eventType"],
            call.requester.user_id,
            call.canonical_body(),
            timestamp(call),
            call.path["roomId"],
        )
        self.active(call.requester.user_nid)
        if (delay := delay_of(call)) is not None:
            return await self.later.schedule(call, draft, delay, once=once(call, "s"))
        if call.requester.is_suspended:
            await self.sending.check_suspended(draft)
        return {"event_id": await self.sending.send(draft, once=once(call, "s"))}

    async def set_state(self, call: Call) -> Result:
        draft = Draft(
            call.path["eventType"],
            call.requester.user_id,
            call.canonical_body(),
            timestamp(call),
            call.path["roomId"],
            call.path.get("stateKey", ""),
        )
        self.active(call.requester.user_nid)
        if (delay := delay_of(call)) is not None:
            return await self.later.schedule(call, draft, delay)
        return {"event_id": await self.sending.set_state(draft, is_guest=call.requester.is_guest)}

    async def redact(self, call: Call) -> Result:
        content = {**call.canonical_body(), "redacts": call.path["eventId"]}
        draft = Draft(REDACTION, call.requester.user_id, content, timestamp(call), call.path["roomId"])
        self.active(call.requester.user_nid)
        if call.requester.is_suspended:
            await self.sending.check_suspended(draft)
        return {"event_id": await self.sending.redact(draft, once=once(call, "r"))}
