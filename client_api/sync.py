"""Client-Server API, "Syncing"."""

from attrs import frozen

from homeserver.core.presence import STATES
from homeserver.core.sync_view import EVERYTHING, view_of
from homeserver.core.tokens import parse_sync_token
from homeserver.services.filters import EVERYTHING as NO_FILTER
from homeserver.services.filters import Filters
from homeserver.services.notifier import Notifier
from homeserver.services.presence import Presences
from homeserver.services.sync import Sync
from homeserver.services.sync_request import Style, SyncRequest
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.query import Query
from homeserver.web.reply import Result

STATE_AFTER = (  # parameter and the name of what it asks for; the unstable one [MSC4222]
    ("use_state_after", "state_after"),
    ("org.matrix.msc4222.use_state_after", "org.matrix.msc4222.state_after"),
)


@frozen
class SyncApi:
    """[cs "Syncing"]"""

    service: Sync
    notifier: Notifier
    filters: Filters
    presences: Presences
    longest: float  # seconds

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("GET", "/v3/sync", self.sync, auth=Auth.GUEST_OK, long_poll=True)]

    async def sync(self, call: Call) -> Result:
        query, requester = call.query, call.requester
        since = query.string("since", None)
        token = parse_sync_token(since) if since else None
        timeout = min(query.integer("timeout", 0, least=0) / 1000, self.longest)
        state = query.choice("set_presence", STATES, None)
        wanted = await self.filters.of_request(requester.user_nid, query.string("filter", None))
        request = SyncRequest(
            user_id=requester.user_id,
            user=await self.notifier.active(requester.user_nid),
            device_nid=requester.device_nid,
            since=token,
            view=EVERYTHING if wanted is NO_FILTER else view_of(wanted),
            style=Style(_state_name(query), query.boolean("full_state", False)),
        )
        async with self.presences.syncing(requester.user_nid, requester.device_nid, state):
            return await self.service.sync(request, timeout)


def _state_name(query: Query) -> str:
    return next((name for parameter, name in STATE_AFTER if query.boolean(parameter, False)), "state")
