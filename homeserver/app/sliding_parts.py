"""Sliding sync: how its services are connected, on the readers of /sync."""

from client_api.sliding_sync import SlidingSyncApi
from homeserver.app.config import Config
from homeserver.app.foundation import Foundation
from homeserver.app.sync_parts import SyncParts
from homeserver.services.sliding.connections import SyncConnections
from homeserver.services.sliding.extensions import SlidingExtensions
from homeserver.services.sliding.gather import SlidingGather
from homeserver.services.sliding.profiles import SlidingProfiles
from homeserver.services.sliding.quick import SlidingQuick
from homeserver.services.sliding.room_lists import RoomLists
from homeserver.services.sliding.rooms import SlidingRooms
from homeserver.services.sliding.sliding_sync import SlidingSync
from homeserver.services.sliding.states import RequiredStates
from homeserver.services.sync_devices import SyncDevices
from homeserver.web.endpoint import Endpoint


def sliding_sync(foundation: Foundation, sync: SyncParts) -> SlidingSync:
    """Connect them."""
    database, reader, state_keys = foundation.database, foundation.reader, foundation.state_keys
    shared, connections = sync.sync.slow.everything, SyncConnections(database)
    lists = RoomLists(foundation.notifier, reader)
    return SlidingSync(
        foundation.notifier,
        connections,
        SlidingGather(
            database,
            foundation.notifier,
            connections,
            lists,
            SlidingRooms(shared.timelines, RequiredStates(reader, state_keys), shared.sections),
            SlidingExtensions(
                foundation.notifier,
                shared.passing,
                SyncDevices(reader, state_keys),
                SlidingProfiles(state_keys),
            ),
        ),
        SlidingQuick(foundation.notifier, foundation.tails, foundation.counts, lists),
        sync.sync.key_counts,
        sync.sync.inboxes,
    )


def sliding_endpoints(config: Config, foundation: Foundation, sync: SyncParts) -> list[Endpoint]:
    """What clients may ask of it."""
    longest = float(config.limits.sync_timeout)
    service = sliding_sync(foundation, sync)
    return SlidingSyncApi(service, foundation.notifier, sync.presences, longest).endpoints()
