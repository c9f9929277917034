"""What operators ask of a running server about other servers, and tell it.

For administrators' access tokens, and for commands on this machine that prove to know the server's secret. The paths
are those that existing tools use.
"""

from typing import Any

from attrs import frozen

from federation.overview import DestinationStatus, Overview
from homeserver.app.operators import Operators
from homeserver.core.errors import not_found
from homeserver.services.now import Clock, now_ms
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result
from storage import destinations
from storage.database import Database

_PATH = "/_synapse/admin/v1/federation/destinations"
_MOST = 1_000


@frozen
class FederationAdmin:
    """Destinations: list, show, retry."""

    overview: Overview
    database: Database
    operators: Operators
    clock: Clock = now_ms

    def endpoints(self) -> list[Endpoint]:
        one = f"{_PATH}/{{destination}}"
        return [
            Endpoint("GET", _PATH, self.list, auth=Auth.OPTIONAL),
            Endpoint("GET", one, self.show, auth=Auth.OPTIONAL),
            Endpoint("POST", f"{one}/reset_connection", self.retry, auth=Auth.OPTIONAL, empty_body=True),
        ]

    async def list(self, call: Call) -> Result:
        self.operators.require(call)
        limit = min(call.query.integer("limit", 100, least=1), _MOST)
        found = await self.overview.page(call.query.string("from", ""), limit)
        async with self.database.read() as conn:
            total = await destinations.count(conn)
        answer: dict[str, Any] = {"destinations": [self._told(one) for one in found], "total": total}
        if len(found) == limit:
            answer["next_token"] = found[-1].standing.server_name
        return answer

    async def show(self, call: Call) -> Result:
        self.operators.require(call)
        return self._told(await self._find(call))

    async def retry(self, call: Call) -> Result:
        self.operators.require(call)
        found = await self._find(call)
        self.overview.retry(found.standing.server_name)
        return {}

    async def _find(self, call: Call) -> DestinationStatus:
        found = await self.overview.one(call.path["destination"])
        if found is None:
            raise not_found("This server has never had to do with that one")
        return found

    def _told(self, status: DestinationStatus) -> dict[str, Any]:
        standing, now = status.standing, self.clock()
        return {
            "destination": standing.server_name,
            "state": status.state,
            "events_waiting": status.events,
            "messages_waiting": status.messages,
            "failures": standing.failures,
            "failure_ts": standing.failing_since or None,
            "retry_at_ts": standing.retry_at or None,
            "retry_interval": max(0, standing.retry_at - now),
            "last_success_ts": standing.last_success or None,
            "last_error": standing.last_error or None,
        }
