"""Events that are sent later [MSC4140]: the accepted form, and the one that calls use today."""

from attrs import frozen

from client_api.drafts import massaged_timestamp, once
from homeserver.core.errors import bad_json, invalid_param, user_suspended
from homeserver.core.event_build import Draft
from homeserver.services.delayed.delivery import Delivery
from homeserver.services.delayed.schedule import Wish
from homeserver.services.growth import Once
from homeserver.services.room_sending import RoomSending
from homeserver.web import fields
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result

UNSTABLE = "/unstable/org.matrix.msc4140"
DELAY = "org.matrix.msc4140.delay"
ACTIONS = ("send", "cancel", "restart")
MAX_DELAY = 2**53 - 1


@frozen
class DelayedEventsApi:
    """[MSC4140]"""

    delivery: Delivery
    sending: RoomSending

    def endpoints(self) -> list[Endpoint]:
        guest, rate = Auth.GUEST_OK, "delayed_event"  # guests, too, are in calls
        put = "/rooms/{roomId}/delayed_event/{eventType}/{txnId}"
        return [
            Endpoint("PUT", f"/v3{put}", self.put, also=(f"{UNSTABLE}{put}",), auth=guest, rate="message"),
            Endpoint(
                "GET",
                "/v1/delayed_events",
                self.all_of,
                also=(f"{UNSTABLE}/delayed_events",),
                auth=guest,
                rate=rate,
            ),
            Endpoint(
                "GET",
                "/v1/delayed_events/{delayId}",
                self.one,
                also=(f"{UNSTABLE}/delayed_events/{{delayId}}",),
                auth=guest,
                rate=rate,
            ),
            Endpoint(
                "POST",
                "/v1/delayed_events/{delayId}/{action}",
                self.act,
                auth=guest,
                rate=rate,
                empty_body=True,
            ),
            # COMPAT(Element Call and its helpers, until they use the accepted form): the id is enough.
            Endpoint(
                "POST",
                f"{UNSTABLE}/delayed_events/{{delayId}}/{{action}}",
                self.act,
                also=(f"{UNSTABLE}/delayed_events/{{delayId}}",),
                auth=Auth.OPTIONAL,
                rate=rate,
                empty_body=True,
            ),
        ]

    async def put(self, call: Call) -> Result:
        body = call.canonical_body()
        draft = Draft(
            call.path["eventType"],
            call.requester.user_id,
            fields.required(body, "content", dict),
            0,
            call.path["roomId"],
            fields.optional(body, "state_key", str),
        )
        return await self.schedule(call, draft, fields.required(body, "delay_ms", int), once=once(call, "s"))

    async def schedule(self, call: Call, draft: Draft, delay_ms: int, *, once: Once | None = None) -> Result:
        """What is sent later is refused now only for reasons that time will not change."""
        if not 0 < delay_ms <= MAX_DELAY:
            raise bad_json("The delay must be a number of milliseconds above 0")
        await self._check_suspended(call, draft)
        wish = Wish(draft, delay_ms, massaged_timestamp(call), once)
        return {"delay_id": await self.delivery.schedule.schedule(call.requester.user_nid, wish)}

    async def all_of(self, call: Call) -> Result:
        return {"delayed_events": await self.delivery.schedule.scheduled(call.requester.user_nid)}

    async def one(self, call: Call) -> Result:
        return await self.delivery.schedule.one(call.path["delayId"], call.requester.user_nid)

    async def act(self, call: Call) -> Result:
        action = call.path.get("action") or call.field("action", str)
        delay_id, requester = call.path["delayId"], call.requester_or_none
        owner = None if requester is None else requester.user_nid
        if action == "send":
            await self.delivery.send_now(delay_id, owner)
        elif action == "cancel":
            await self.delivery.schedule.cancel(delay_id, owner)
        elif action == "restart":
            await self.delivery.schedule.restart(delay_id, owner)
        else:
            raise invalid_param(f"The action must be one of {', '.join(ACTIONS)}")
        return {}

    async def _check_suspended(self, call: Call, draft: Draft) -> None:
        if not call.requester.is_suspended:
            return
        if draft.state_key is not None:
            raise user_suspended()
        await self.sending.check_suspended(draft)


def delay_of(call: Call) -> int | None:
    """The delay that a request to send names, if it is to be sent later."""
    return call.query.integer(DELAY, None, least=1)
