"""Sync and what passes by: how their services are connected, and what of them clients may ask."""

from attrs import frozen

from client_api.old_sync import OldSync
from client_api.peeking import Peeking
from client_api.presence import PresenceApi
from client_api.read_markers import ReadMarkers
from client_api.receipts import ReceiptsApi
from client_api.room_initial_sync import RoomInitialSync
from client_api.sync import SyncApi
from client_api.typing import TypingApi
from federation.aliases import Aliases
from homeserver.app.config import Config
from homeserver.app.foundation import Foundation
from homeserver.services.aggregations import Aggregations
from homeserver.services.background import Background
from homeserver.services.client_events import ClientEvents
from homeserver.services.filters import Filters
from homeserver.services.history import History
from homeserver.services.inboxes import Inboxes
from homeserver.services.key_counts import KeysLeft
from homeserver.services.onlooking import Onlooking
from homeserver.services.peeking import Peeks
from homeserver.services.presence import Presences
from homeserver.services.receipts import Receipts
from homeserver.services.recent_devices import RecentDevices
from homeserver.services.room_access import RoomAccess
from homeserver.services.room_reading import RoomReading
from homeserver.services.sent_members import SentMembers
from homeserver.services.sync import Sync
from homeserver.services.sync_gather import SyncGather
from homeserver.services.sync_others import SyncOthers
from homeserver.services.sync_passing import SyncPassing
from homeserver.services.sync_quick import SyncQuick
from homeserver.services.sync_sections import RoomSections
from homeserver.services.sync_states import SyncStates
from homeserver.services.sync_timelines import SyncTimelines
from homeserver.services.typing import TypingService
from homeserver.web.endpoint import Endpoint


@frozen
class SyncParts:
    """The reader, and what writes receipts, typing and presence."""

    sync: Sync
    receipts: Receipts
    typing: TypingService
    presences: Presences


def sync_parts(foundation: Foundation, background: Background) -> SyncParts:
    """Connect them."""
    database, committer = foundation.database, foundation.committer
    reader, state_keys, notifier = foundation.reader, foundation.state_keys, foundation.notifier
    sent, typing = SentMembers(), TypingService(database, committer, reader.rooms, background)
    foundation.followers.append(typing)
    presences = Presences(database, committer, state_keys, background)
    gather = SyncGather(
        database,
        notifier,
        SyncTimelines(reader, state_keys),
        SyncStates(reader, state_keys, sent),
        SyncPassing(state_keys, presences.unwritten, foundation.predefined),
        RoomSections(Aggregations(ClientEvents(reader)), state_keys, foundation.counts),
    )
    return SyncParts(
        Sync(
            notifier,
            SyncQuick(notifier, foundation.tails, sent, state_keys, foundation.counts),
            SyncOthers(gather, RecentDevices(database)),
            KeysLeft(database, notifier),
            Inboxes(database),
            Peeks(database, committer, notifier, RoomAccess(reader, state_keys)),
        ),
        Receipts(database, reader, committer),
        typing,
        presences,
    )


def sync_endpoints(
    config: Config, foundation: Foundation, parts: SyncParts, filters: Filters
) -> list[Endpoint]:
    """Everything about sync that clients may ask."""
    longest = float(config.limits.sync_timeout)
    onlooking = onlooking_parts(foundation, parts)
    return [
        *OldSync(parts.sync, parts.presences, onlooking, foundation.predefined, longest).endpoints(),
        *RoomInitialSync(onlooking).endpoints(),
        *SyncApi(parts.sync, parts.sync.notifier, filters, parts.presences, longest).endpoints(),
        *ReceiptsApi(parts.receipts, parts.presences.active).endpoints(),
        *ReadMarkers(parts.receipts, parts.presences.active).endpoints(),
        *TypingApi(parts.typing, parts.presences.active).endpoints(),
        *PresenceApi(parts.presences).endpoints(),
    ]


def peeking_endpoints(parts: SyncParts, aliases: Aliases) -> list[Endpoint]:
    """How devices look into rooms from outside."""
    return Peeking(parts.sync.peeks, aliases).endpoints()


def onlooking_parts(foundation: Foundation, parts: SyncParts) -> Onlooking:
    """For who looks into rooms, by the forms of long ago."""
    database, reader, state_keys = foundation.database, foundation.reader, foundation.state_keys
    access = RoomAccess(reader, state_keys)
    history = History(reader, access, RoomReading(database, reader, state_keys, access))
    aggregations = Aggregations(ClientEvents(reader))
    return Onlooking(database, foundation.notifier, history, parts.sync.slow.everything.passing, aggregations)
