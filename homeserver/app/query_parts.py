"""What servers ask each other in passing: profiles, aliases, public rooms, spaces, OpenID; both roles."""

from attrs import frozen

from federation.aliases import Aliases
from federation.client.queries import QueryRequests
from federation.inbound.openid import OpenIdApi
from federation.inbound.public_rooms import PublicRoomsApi
from federation.inbound.query import QueryApi
from federation.inbound.space_hierarchy import SpaceHierarchyApi
from federation.queries import RemoteQueries
from federation.transport.requests import PeerRequests
from homeserver.app.foundation import Foundation
from homeserver.services.application_services.introducing import Introduce
from homeserver.services.membership import Memberships
from homeserver.services.openid import OpenID
from homeserver.services.profiles import Profiles
from homeserver.services.public_list import PublicList
from homeserver.services.room_servers import RoomServers
from homeserver.services.room_summaries import RoomSummaries
from homeserver.services.server_spaces import ServerSpaces
from homeserver.services.spaces import Spaces
from homeserver.web.endpoint import Endpoint


@frozen
class QueryParts:
    """Services that answer of ourselves or ask others."""

    remote: RemoteQueries
    profiles: Profiles
    summaries: RoomSummaries
    rooms: PublicList
    spaces: Spaces


def query_parts(
    foundation: Foundation, requests: PeerRequests, memberships: Memberships, introduce: Introduce
) -> QueryParts:
    """Connect them."""
    database, reader, state_keys = foundation.database, foundation.reader, foundation.state_keys
    remote = RemoteQueries(QueryRequests(requests), database, reader, state_keys)
    profiles = Profiles(
        foundation.committer,
        foundation.identity.server_name,
        memberships.profile_changed,
        remote.profile,
        introduce,
    )
    summaries = RoomSummaries(database, reader)
    return QueryParts(remote, profiles, summaries, PublicList(summaries), Spaces(summaries, remote.space))


def query_endpoints(
    foundation: Foundation, servers: RoomServers, parts: QueryParts, aliases: Aliases
) -> list[Endpoint]:
    """What other servers may ask."""
    return [
        *QueryApi(aliases, parts.profiles, foundation.identity).endpoints(),
        *PublicRoomsApi(parts.rooms).endpoints(),
        *SpaceHierarchyApi(ServerSpaces(parts.spaces, servers)).endpoints(),
        *OpenIdApi(OpenID(foundation.database)).endpoints(),
    ]
