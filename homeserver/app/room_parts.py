"""The rooms of the server: how their services are connected, and what of them clients may ask."""

from collections.abc import Callable

from attrs import frozen

from client_api.create_room import CreateRoom
from client_api.delayed_events import DelayedEventsApi
from client_api.message_pagination import MessagePagination
from client_api.relations import Relations
from client_api.room_directory import RoomDirectory
from client_api.room_events import RoomEvents
from client_api.room_membership import RoomMembership
from client_api.room_send import RoomSend
from client_api.room_summary import RoomSummaryApi
from client_api.room_upgrades import RoomUpgrades
from client_api.spaces import SpacesApi
from client_api.thread_subscriptions import ThreadSubscriptionsApi
from federation.address_invites import AddressInvites
from federation.aliases import Aliases
from federation.backfill import Backfill
from federation.deep_history import DeepHistory
from federation.membership import Entrances
from homeserver.app.config import Config
from homeserver.app.foundation import Foundation
from homeserver.app.query_parts import QueryParts
from homeserver.services.account_data import AccountDataStore
from homeserver.services.aggregations import Aggregations
from homeserver.services.application_services.queries import ServiceQueries
from homeserver.services.belongings import Belongings
from homeserver.services.client_events import ClientEvents
from homeserver.services.directory import Directory
from homeserver.services.history import History
from homeserver.services.member_content import MemberContents
from homeserver.services.membership import Elsewhere, Memberships
from homeserver.services.policy_lists import PolicyLists
from homeserver.services.push_rules import PushRules
from homeserver.services.related import RelatedEvents
from homeserver.services.restricted_joins import RestrictedJoins
from homeserver.services.room_access import RoomAccess
from homeserver.services.room_creation import RoomCreation
from homeserver.services.room_reading import RoomReading
from homeserver.services.room_sending import RoomSending
from homeserver.services.room_upgrade import RoomUpgrade
from homeserver.services.thread_subscriptions import ThreadSubscriptions
from homeserver.web.endpoint import Endpoint


@frozen
class RoomParts:
    """The services that write into rooms."""

    memberships: Memberships
    creation: RoomCreation
    sending: RoomSending
    directory: Directory
    upgrade: RoomUpgrade
    belongings: Belongings


def room_parts(
    foundation: Foundation, elsewhere: Elsewhere, services: ServiceQueries, policies: PolicyLists
) -> RoomParts:
    """Connect what writes into rooms. `elsewhere` are the other servers."""
    timeline = foundation.timeline
    restricted = RestrictedJoins(
        foundation.database, foundation.timeline.heads, foundation.state_keys, foundation.identity
    )
    contents = MemberContents(foundation.database)
    memberships = Memberships(timeline, contents, restricted, elsewhere, services.user, policies)
    creation = RoomCreation(timeline, memberships)
    return RoomParts(
        memberships,
        creation,
        RoomSending(timeline, memberships),
        Directory(timeline, services.services),
        RoomUpgrade(timeline, creation, contents),
        Belongings(
            timeline,
            AccountDataStore(foundation.database, foundation.committer, foundation.predefined),
            PushRules(foundation.database, foundation.committer, foundation.predefined),
        ),
    )


def reading_endpoints(
    config: Config,
    foundation: Foundation,
    directory: Directory,
    aliases: Aliases,
    *,
    queries: QueryParts,
    backfill: Backfill,
) -> list[Endpoint]:
    """What of rooms clients may read."""
    database, reader, state_keys = foundation.database, foundation.reader, foundation.state_keys
    access = RoomAccess(reader, state_keys)
    reading = RoomReading(database, reader, state_keys, access)
    aggregations = Aggregations(ClientEvents(reader))
    history = History(reader, access, reading)
    related = RelatedEvents(reader, access, reading)
    listing = RoomDirectory(
        directory, aliases, queries.rooms, queries.remote, reading, config.rooms.public_list
    )
    return [
        *RoomEvents(reading, aggregations).endpoints(),
        *MessagePagination(
            database, history, aggregations, config.limits.page, DeepHistory(backfill)
        ).endpoints(),
        *listing.endpoints(),
        *SpacesApi(queries.spaces).endpoints(),
        *RoomSummaryApi(queries.summaries, queries.spaces, aliases).endpoints(),
        *Relations(database, related, aggregations, config.limits.page).endpoints(),
        *thread_subscriptions(foundation, reading).endpoints(),
    ]


def thread_subscriptions(foundation: Foundation, reading: RoomReading) -> ThreadSubscriptionsApi:
    """What users want to hear of."""
    rules = PushRules(foundation.database, foundation.committer, foundation.predefined)
    return ThreadSubscriptionsApi(
        ThreadSubscriptions(foundation.database, foundation.committer, reading, rules)
    )


def room_endpoints(
    config: Config,
    parts: RoomParts,
    entrances: Entrances,
    aliases: Aliases,
    *,
    later: DelayedEventsApi,
    address_invites: AddressInvites,
    active: Callable[[int], None],
) -> list[Endpoint]:
    """How clients make rooms, enter them and write into them."""
    return [
        *CreateRoom(
            parts.creation,
            config.server.name,
            config.rooms.default_version,
            config.rooms.public_list,
            address_invites,
            parts.directory.services,
        ).endpoints(),
        *RoomMembership(parts.memberships, entrances, aliases, parts.belongings, address_invites).endpoints(),
        *RoomSend(parts.sending, active, later).endpoints(),
        *later.endpoints(),
        *RoomUpgrades(parts.upgrade, parts.belongings).endpoints(),
    ]
