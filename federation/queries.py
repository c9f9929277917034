"""What other servers are asked on behalf of our clients: profiles, spaces, their public rooms.

A client waits, so an answer of our own is preferred to a slow peer's: of users we share a room with we know name and
avatar, and tell these when their server does not answer in time.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from federation.client.queries import QueryRequests
from federation.refusals import for_client
from federation.transport.requests import PeerFault, PeerRefused
from homeserver.core.errors import not_found
from homeserver.core.ids import domain_of
from homeserver.services.profiles import SHOWN_IN_ROOMS
from homeserver.services.room_summaries import Search
from homeserver.services.spaces import Told
from homeserver.web.room_search import SearchRequest
from storage import current_events
from storage.database import Database
from storage.events import EventReader
from storage.state_keys import StateKeys, user_key

PROFILE_WAIT = 4.0  # seconds; then what our rooms tell has to do
SERVERS = 3  # that are asked about one room


@frozen
class RemoteQueries:
    """Asks, and makes the best of silence."""

    requests: QueryRequests
    database: Database
    reader: EventReader
    state_keys: StateKeys

    async def profile(self, user_id: str) -> Mapping[str, Any]:
        """The profile of another server's user. Raises M_NOT_FOUND."""
        try:
            async with asyncio.timeout(PROFILE_WAIT):
                return await self.requests.profile(domain_of(user_id), user_id)
        except PeerRefused as refused:
            if refused.status == 404:
                raise not_found("There is no profile of this user") from refused
            cause: Exception = refused
        except (PeerFault, TimeoutError) as fault:
            cause = fault
        profile = await self._shown(user_id)
        if profile is None:
            raise not_found("The user's server does not answer, and no room here knows them") from cause
        return profile

    async def _shown(self, user_id: str) -> Mapping[str, Any] | None:
        """Name and avatar as a room shows them."""
        async with self.database.read() as conn:
            found = await self.state_keys.find(conn, [user_key(user_id)])
            nid = found.get(user_key(user_id))
            member = None if nid is None else await current_events.latest_join(conn, self.reader, nid)
        if member is None:
            return None
        content = member.event.content
        return {name: content[name] for name in SHOWN_IN_ROOMS if isinstance(content.get(name), str)}

    async def space(self, room_id: str, via: Sequence[str], suggested_only: bool) -> Told | None:
        """What the first server that answers tells of a space."""
        for server in list(dict.fromkeys(via))[:SERVERS]:
            try:
                answer = await self.requests.hierarchy(server, room_id, suggested_only=suggested_only)
            except PeerFault:
                continue
            return Told(answer.room, answer.children, answer.inaccessible_children)
        return None

    async def public_rooms(self, server: str, wanted: SearchRequest) -> dict[str, Any]:
        """A page of another server's public rooms."""
        search = wanted.search
        try:
            if search.is_everything:
                query: dict[str, str | int] = {"limit": wanted.limit, **_network(search)}
                if wanted.since:
                    query["since"] = wanted.since
                return await self.requests.public_rooms(server, query)
            body: dict[str, Any] = {"limit": wanted.limit, "filter": {}}
            if search.network is not None:
                body["third_party_instance_id"] = search.network
            if search.all_networks:
                body["include_all_networks"] = True
            if wanted.since:
                body["since"] = wanted.since
            if search.term is not None:
                body["filter"]["generic_search_term"] = search.term
            if search.room_types is not None:
                body["filter"]["room_types"] = sorted(search.room_types, key=lambda kind: kind or "")
            return await self.requests.search_public_rooms(server, body)
        except PeerFault as fault:
            raise for_client(fault) from fault


def _network(search: Search) -> dict[str, str]:
    """Which list is wanted, as parameters [ss "GET /publicRooms"]."""
    if search.all_networks:
        return {"include_all_networks": "true"}
    return {} if search.network is None else {"third_party_instance_id": search.network}
