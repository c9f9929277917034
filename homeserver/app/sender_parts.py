"""The sender and all it takes."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from attrs import frozen
from prometheus_client import CollectorRegistry

from federation.backoff import Destinations
from federation.catch_up import CatchUpReading
from federation.client.transactions import TransactionRequests
from federation.courier import Courier, Transactions
from federation.lanes import Lanes
from federation.outbound_edus import EduSource, ToDeviceSource
from federation.overview import Overview
from federation.packing import Packing
from federation.passing_by import PassingBy, Reading
from federation.peers import Peers
from federation.roster import Roster
from federation.routing import Routes
from federation.sender import Sender
from homeserver.app.config import Config
from homeserver.app.federation_admin import FederationAdmin
from homeserver.app.foundation import Foundation
from homeserver.app.metrics import watch
from homeserver.app.operators import operators
from homeserver.app.peer_parts import PeerParts
from homeserver.core.ids import domain_of
from homeserver.services.commit_news import CommitNews
from homeserver.services.fork_ends import ForkEnds
from homeserver.services.growth import Note
from homeserver.web.endpoint import Endpoint
from storage.room_batches import RoomBatch


@frozen
class SenderParts:
    """The sender, and what operators look at."""

    sender: Sender
    courier: Courier
    tasks: Mapping[str, Callable[[], Awaitable[None]]]


def outgoing_parts(
    foundation: Foundation, way: PeerParts, registry: CollectorRegistry, sources: Sequence[EduSource] = ()
) -> SenderParts:
    """The sender of a server. `sources`: further kinds of EDUs that must not be lost."""
    parts = sender_parts(
        foundation,
        transactions=TransactionRequests(way.requests),
        destinations=way.destinations,
        peers=way.peers,
        sources=sources,
    )
    watch_sender(parts, registry)
    return parts


def sender_endpoints(
    config: Config, foundation: Foundation, way: PeerParts, parts: SenderParts
) -> list[Endpoint]:
    """What operators ask of other servers."""
    overview = Overview(foundation.database, way.destinations, parts.sender)
    return FederationAdmin(overview, foundation.database, operators(config)).endpoints()


def sender_parts(
    foundation: Foundation,
    *,
    transactions: Transactions,
    destinations: Destinations,
    peers: Peers,
    sources: Sequence[EduSource] = (),
) -> SenderParts:
    """Connect them."""
    database, name, rooms = foundation.database, foundation.identity.server_name, foundation.reader.rooms
    room_servers = foundation.room_servers
    news = CommitNews(lambda batch: is_for_others(batch, name), members=True)
    roster = Roster(database, peers)
    reading = CatchUpReading(database, name, Routes(name, room_servers, rooms))
    packing = Packing(reading, lambda: sender.position, destinations.clock)
    courier = Courier(roster, packing, transactions, destinations)
    lanes = Lanes(courier.serve, lambda name: destinations.standing(name).failures > 0, destinations.clock)
    passing = PassingBy(
        Reading(database, name, room_servers, rooms, foundation.state_keys), roster, destinations.clock
    )
    sender = Sender(news, roster, lanes, packing, passing, [ToDeviceSource(database), *sources])
    if not peers.enabled:
        return SenderParts(sender, courier, {})
    destinations.changed = sender.may_be_up
    foundation.followers.append(news)
    ends = ForkEnds(foundation.timeline)
    foundation.followers.append(ends)
    return SenderParts(sender, courier, {"federation sender": sender.run, "fork ends": ends.run})


def is_for_others(batch: RoomBatch, our_name: str) -> bool:
    """May other servers have to be told of what a room has written?"""
    if not isinstance(batch.note, Note) or batch.relayed:
        return True
    return any(domain_of(stored.event.sender) == our_name for stored in batch.note.events)


def watch_sender(parts: SenderParts, registry: CollectorRegistry) -> None:
    """Its numbers."""
    sender, carried = parts.sender, parts.courier.carried
    for name, documentation, read in (
        (
            "homing_federation_sender_position",
            "Up to here the clock has been followed",
            lambda: sender.position,
        ),
        ("homing_federation_destinations", "Servers with a queue in memory", lambda: len(sender.roster)),
        (
            "homing_federation_destinations_behind",
            "Servers that have not got everything",
            lambda: sum(queue.has_events for queue in sender.roster),
        ),
        (
            "homing_federation_destinations_parked",
            "Servers left alone for a time",
            lambda: sender.lanes.parked,
        ),
        ("homing_federation_sending", "Transactions on their way", lambda: sender.lanes.busy),
        ("homing_federation_pdus_sent_total", "Events delivered, by destination", lambda: carried.events),
        ("homing_federation_edus_sent_total", "EDUs delivered, by destination", lambda: carried.edus),
        ("homing_federation_transactions_sent_total", "Transactions delivered", lambda: carried.transactions),
        ("homing_federation_transactions_failed_total", "Transactions that failed", lambda: carried.failures),
    ):
        watch(name, documentation, read, registry=registry)
