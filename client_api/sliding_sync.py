"""Sliding sync [MSC4186]: the accepted form, and the unstable one that clients speak meanwhile."""

from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve, frozen

from homeserver.core.errors import invalid_param
from homeserver.core.sliding_answer import newer_form, older_form
from homeserver.core.sliding_request import SlidingQuery, parse_sliding_query
from homeserver.core.tokens import SlidingPos, parse_sliding_pos
from homeserver.services.notifier import Notifier
from homeserver.services.presence import Presences
from homeserver.services.sliding.connections import unknown_pos
from homeserver.services.sliding.sliding_sync import SlidingRequest, SlidingSync, dumped
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result

UNSTABLE = "/unstable/org.matrix.simplified_msc3575/sync"
MAX_SUBSCRIPTIONS = 100
MAX_SUBSCRIPTIONS_BEFORE = 1_000  # on the unstable path, which had no limit
PRESENCES = ("online", "offline", "unavailable")


@frozen
class SlidingSyncApi:
    """[MSC4186]"""

    service: SlidingSync
    notifier: Notifier
    presences: Presences
    longest: float  # seconds

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("POST", "/v4/sync", self.sync, auth=Auth.GUEST_OK, long_poll=True, empty_body=True),
            Endpoint("POST", UNSTABLE, self.sync_before, auth=Auth.GUEST_OK, long_poll=True, empty_body=True),
        ]

    async def sync(self, call: Call) -> Result:
        query = parse_sliding_query(call.body, call.requester.user_id, max_subscriptions=MAX_SUBSCRIPTIONS)
        timeout, state = call.optional("timeout", int, 0), call.optional("set_presence", str)
        asked = await self._asked(call, query, call.optional("pos", str))
        return await self._answer(asked, (timeout, state), newer_form)

    async def sync_before(self, call: Call) -> Result:
        user_id = call.requester.user_id
        query = parse_sliding_query(call.body, user_id, max_subscriptions=MAX_SUBSCRIPTIONS_BEFORE)
        timeout = call.query.integer("timeout", 0, least=0)
        state = call.query.string("set_presence", None)
        asked = await self._asked(call, evolve(query, counted=True), call.query.string("pos", None))
        if not query.conn_id:  # COMPAT(matrix-js-sdk, until it repeats its subscriptions)
            asked = evolve(asked, given=call.optional("room_subscriptions", dict, {}))
        return await self._answer(asked, (timeout, state), older_form)

    async def _asked(self, call: Call, query: SlidingQuery, pos: str | None) -> SlidingRequest:
        requester = call.requester
        return SlidingRequest(
            requester.user_id,
            await self.notifier.active(requester.user_nid),
            requester.device_nid,
            query,
            _pos(pos),
        )

    async def _answer(
        self,
        asked: SlidingRequest,
        manner: tuple[int, str | None],
        form: Callable[[Mapping[str, Any]], dict[str, Any]],
    ) -> Result:
        timeout, state = manner
        if timeout < 0 or (state is not None and state not in PRESENCES):
            raise invalid_param("timeout must not be negative, set_presence a state of presence")
        async with self.presences.syncing(asked.user.user_nid, asked.device_nid, state):
            answer = await self.service.sync(asked, min(timeout / 1000, self.longest))
        return dumped(answer, {room_id: form(room) for room_id, room in answer.rooms.items()})


def _pos(text: str | None) -> SlidingPos | None:
    if not text:
        return None
    pos = parse_sliding_pos(text)
    if pos is None:
        raise unknown_pos()
    return pos
