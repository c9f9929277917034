"""Federation: how its parts are connected, what other servers may ask, and what runs beside."""

from collections.abc import Awaitable, Callable, Mapping

from attrs import frozen

from federation.backfill import Backfill
from federation.inbound.backfill import BackfillApi
from federation.inbound.events import EventsApi
from federation.inbound.policy import PolicyApi
from federation.inbound.state import StateApi
from federation.inbound.version import VersionApi
from federation.told_states import ToldStates
from homeserver.app.foundation import Foundation
from homeserver.app.membership_parts import Federating
from homeserver.app.peer_parts import PeerParts
from homeserver.app.version import NAME, VERSION
from homeserver.services.histories_behind import HistoriesBehind
from homeserver.services.room_export import RoomExport
from homeserver.services.server_acls import ServerACLs
from homeserver.services.server_visibility import ServerAccess
from homeserver.web.endpoint import Endpoint


@frozen
class FederationParts:
    """What `assemble` takes over: endpoints to serve, tasks to run while we serve."""

    endpoints: list[Endpoint]
    tasks: Mapping[str, Callable[[], Awaitable[None]]]


def federation_parts(foundation: Foundation, peers: PeerParts) -> FederationParts:
    """Everything that talks to other servers or answers them. `peers` is the way to them."""
    acls = ServerACLs(foundation.reader)
    endpoints = [
        *VersionApi(NAME, VERSION).endpoints(),
        *PolicyApi().endpoints(),
        *served_rooms(foundation, acls),
    ]
    return FederationParts(endpoints, tasks={})


def served_rooms(foundation: Foundation, acls: ServerACLs) -> list[Endpoint]:
    """What other servers may read of rooms."""
    database, name = foundation.database, foundation.identity.server_name
    access = ServerAccess(foundation.reader, foundation.state_keys, acls)
    export = RoomExport(database, foundation.reader)
    return [
        *EventsApi(database, access, export, name).endpoints(),
        *StateApi(database, access, export).endpoints(),
        *BackfillApi(database, access, export, name).endpoints(),
    ]


def backfill_of(shared: Federating) -> Backfill:
    """What fetches history from before our time in rooms."""
    gaps = shared.gaps
    told = ToldStates(gaps.events, gaps.check, gaps.arrivals)
    return Backfill(HistoriesBehind(gaps.arrivals), told, shared.servers)
