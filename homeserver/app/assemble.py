"""The one place where the server is put together: read it from top to bottom, in the order of the layers."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog
from attrs import define, field, fields
from prometheus_client import CollectorRegistry, Histogram

from client_api.authentication import Authentication
from homeserver.app.account_endpoints import account_endpoints
from homeserver.app.account_parts import account_parts
from homeserver.app.address_parts import address_invites
from homeserver.app.application_service_parts import service_keys, service_parts, service_queries
from homeserver.app.config import Bucket, Config
from homeserver.app.delayed_parts import delayed_parts
from homeserver.app.encryption_parts import encryption_parts
from homeserver.app.federation_parts import backfill_of, federation_parts
from homeserver.app.finding_parts import finding_parts
from homeserver.app.followers import guests
from homeserver.app.foundation import Foundation, Wanted, lay_foundation
from homeserver.app.garbage import holes
from homeserver.app.inbound_parts import ephemeral_handlers, inbound_parts
from homeserver.app.key_files import retired_keys, signing_key
from homeserver.app.key_parts import key_parts
from homeserver.app.listeners import Listener, certificate, listeners
from homeserver.app.media_parts import media_parts
from homeserver.app.membership_parts import (
    federating,
    membership_endpoints,
    other_servers,
    third_party_invites,
    ways_in,
)
from homeserver.app.metrics import watch
from homeserver.app.moderation_parts import moderation_endpoints
from homeserver.app.peer_parts import peer_parts
from homeserver.app.policy_parts import heed_policy_servers, policy_lists
from homeserver.app.push_parts import push_parts
from homeserver.app.query_parts import query_endpoints, query_parts
from homeserver.app.room_parts import reading_endpoints, room_endpoints, room_parts
from homeserver.app.sender_parts import outgoing_parts, sender_endpoints
from homeserver.app.sliding_parts import sliding_endpoints
from homeserver.app.sync_parts import peeking_endpoints, sync_endpoints, sync_parts
from homeserver.core.errors import MatrixError
from homeserver.core.event_build import Signer
from homeserver.core.rate import Rate
from homeserver.services.access_tokens import AccessTokens
from homeserver.services.background import Background
from homeserver.services.filters import Filters
from homeserver.services.last_seen import LastSeen
from homeserver.web.endpoint import Endpoint
from homeserver.web.gate import Gate
from homeserver.web.health import Health
from homeserver.web.metrics import HttpMetrics
from homeserver.web.rate_limit import RateLimiter
from homeserver.web.serve import Web
from homeserver.web.settings import WebSettings
from storage.committer import Committer, HeadMoved, Overloaded
from storage.database import Database, Unavailable
from storage.streams import current_position

log = structlog.get_logger(__name__)
FAULTS: Mapping[type[Exception], MatrixError] = {
    Unavailable: MatrixError(503, "M_UNKNOWN", "The database cannot be reached just now; try again"),
    Overloaded: MatrixError(503, "M_UNKNOWN", "The server is overloaded; try again"),
    HeadMoved: MatrixError(503, "M_UNKNOWN", "The room is too busy just now; try again"),
    TimeoutError: MatrixError(503, "M_UNKNOWN", "This took too long; try again"),
}


@define(eq=False)
class Server:
    """A server that can be started and stopped once."""

    listeners: Sequence[Listener]
    web: Web
    committer: Committer
    last_seen: LastSeen
    background: Background
    tasks: Mapping[str, Callable[[], Awaitable[None]]]  # run while we serve; cancelled at the stop
    _running: list[asyncio.Task[None]] = field(factory=list, init=False)

    async def start(self) -> int:
        """Serve; gives the first listener's port. Raises OSError where an address cannot be had."""
        bound = [await listener.open(self.web) for listener in self.listeners]
        for name, work in self.tasks.items():
            self._running.append(asyncio.create_task(_watched(name, work), name=name))
        return bound[0]

    async def stop(self) -> None:
        """Finish what runs, write what waits."""
        await self.web.stop()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self.background.settle()
        await self.committer.drain()
        await self.last_seen.flush()


async def assemble(config: Config, database: Database) -> Server:
    """Every part of the server, connected."""
    registry, limiter = CollectorRegistry(auto_describe=True), RateLimiter(rates(config))
    foundation = await lay_foundation(
        database,
        Signer(config.server.name, signing_key(config)),
        cache_mib=config.caches.memory_mib,
        wanted=Wanted(
            config.experimental.expiring_messages,
            config.push.mentions_in_text,
            config.experimental.unread_counts,
        ),
    )
    watch_foundation(foundation, registry)
    access_tokens = AccessTokens(database)
    last_seen = LastSeen(database)
    peers = peer_parts(config, foundation, registry)
    keys = key_parts(foundation, peers, retired_keys(config), config.federation.notaries)
    shared = federating(foundation, peers, keys)
    heed_policy_servers(foundation, peers.requests)
    services = await service_queries(config, foundation)
    policies = policy_lists(config, foundation)
    rooms = room_parts(foundation, other_servers(foundation, shared), services, policies)
    entering = ways_in(foundation, shared, rooms, services)
    queries = query_parts(foundation, shared.requests, rooms.memberships, services.user)
    background = Background()
    sync = sync_parts(foundation, background)
    accounts = account_parts(
        config, foundation, limiter, access_tokens, peers=peers, services=services.services
    )
    delayed = delayed_parts(config, database, rooms.sending, limiter)
    endpoints: list[Endpoint] = []
    endpoints += operation_endpoints(config, database, registry)
    endpoints += account_endpoints(config, foundation, accounts, rooms.memberships, queries.profiles)
    third_party = third_party_invites(foundation, shared, accounts.addresses.bindings.servers)
    endpoints += room_endpoints(
        config,
        rooms,
        entering.entrances,
        entering.aliases,
        address_invites=address_invites(foundation, rooms.memberships, third_party),
        active=sync.presences.active,
        later=delayed.api,
    )
    endpoints += moderation_endpoints(config, foundation, access_tokens, accounts=accounts, rooms=rooms)
    backfill = backfill_of(shared)
    endpoints += reading_endpoints(
        config, foundation, rooms.directory, entering.aliases, queries=queries, backfill=backfill
    )
    endpoints += sync_endpoints(config, foundation, sync, Filters(database))
    endpoints += peeking_endpoints(sync, entering.aliases)
    endpoints += sliding_endpoints(config, foundation, sync)
    encryption = encryption_parts(foundation, accounts, peers, service_keys(config, services))
    endpoints += encryption.endpoints
    serving = service_parts(config, foundation, services, registry)
    endpoints += serving.endpoints
    push = push_parts(config, foundation, registry)
    endpoints += push.endpoints
    federation = federation_parts(foundation, peers)
    handlers = {**ephemeral_handlers(shared, sync, foundation.followers), **encryption.handlers}
    inbound = inbound_parts(foundation, shared, handlers, registry)
    outgoing = outgoing_parts(foundation, peers, registry, encryption.sources)
    endpoints += sender_endpoints(config, foundation, peers, outgoing)
    endpoints += membership_endpoints(foundation, shared, third_party, services=services, policies=policies)
    endpoints += query_endpoints(foundation, shared.servers, queries, entering.aliases)
    finding = finding_parts(foundation)
    endpoints += finding.endpoints
    media = media_parts(config, foundation, peers)
    endpoints += keys.endpoints + federation.endpoints + inbound.endpoints + media.endpoints
    authentication = Authentication(access_tokens, last_seen, services.services)
    web = Web(
        endpoints,
        Gate(authentication, keys.authentication, authentication.service),
        limiter=limiter,
        metrics=HttpMetrics(registry),
        settings=WebSettings(max_body=config.limits.request_bytes),
        faults=FAULTS,
    )
    shown = certificate(config)
    tasks = {"last seen": last_seen.run, **peers.tasks, **keys.tasks, **federation.tasks, **inbound.tasks}
    tasks |= {
        "presence": sync.presences.run,
        "guests": guests(foundation, rooms.memberships).run,
        **finding.tasks,
    }
    tasks |= {**push.tasks, **serving.tasks}
    tasks |= delayed.tasks
    tasks |= {"history": backfill.run, **outgoing.tasks, **encryption.tasks, **media.tasks}
    tasks |= {} if shown is None else {"certificate": shown.run}
    tasks |= {} if (found := holes()) is None else {"holes in memory": found.run}
    return Server(tuple(listeners(config, shown)), web, foundation.committer, last_seen, background, tasks)


async def _watched(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """A task that ends before it is told to is a defect: the operator hears of it."""
    try:
        await work()
    except Exception:
        log.exception("a task of the server has ended", task=name)


def operation_endpoints(config: Config, database: Database, registry: CollectorRegistry) -> list[Endpoint]:
    """Health, readiness and, where they are wanted, metrics."""

    async def ready() -> dict[str, str | None]:
        try:
            async with database.read() as conn:
                await current_position(conn)
        except Unavailable as fault:
            return {"database": str(fault)}
        return {"database": None}

    return Health(ready, registry if config.metrics.enabled else None).endpoints()


def rates(config: Config) -> Mapping[str, Rate] | None:
    """The rate of each limited action; None: no limits."""
    limits = config.rate_limits
    if not limits.enabled:
        return None
    named = {attribute.name: getattr(limits, attribute.name) for attribute in fields(type(limits))}
    buckets = {name: bucket for name, bucket in named.items() if isinstance(bucket, Bucket)}
    return {name: Rate(bucket.per_second, bucket.burst) for name, bucket in buckets.items()}


def watch_foundation(parts: Foundation, registry: CollectorRegistry) -> None:
    """What an operator wants to see of the reader and the writer."""
    committer, notifier, heads = parts.committer, parts.notifier, parts.timeline.heads
    sizes = Histogram(
        "homing_commit_parts",
        "Writes in one shared commit",
        buckets=(1, 2, 5, 10, 20, 50, 100),
        registry=registry,
    )
    lag = Histogram(
        "homing_commit_lag_seconds",
        "From the wish to write until it is durable, of the oldest write of each commit",
        buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
        registry=registry,
    )

    def observe(parts: int, seconds: float) -> None:
        sizes.observe(parts)
        lag.observe(seconds)

    committer.observe = observe
    for name, documentation, read in (
        (
            "homing_clock_position",
            "The last position this process has seen committed",
            lambda: notifier.position,
        ),
        ("homing_commits_total", "Shared commits", lambda: committer.statistics.turns),
        ("homing_committed_parts_total", "Writes in shared commits", lambda: committer.statistics.parts),
        (
            "homing_commits_failed_total",
            "Shared commits taken apart",
            lambda: committer.statistics.failed_turns,
        ),
        ("homing_commits_waiting", "Writes that wait for the next commit", lambda: committer.waiting),
        ("homing_syncs_waiting", "Long polls", lambda: notifier.waiting),
        ("homing_active_users", "Users whose syncs are watched", lambda: notifier.active_users),
        ("homing_room_heads", "Rooms with a warm head", lambda: heads.count),
        ("homing_tail_events", "Events in the recent timelines in memory", lambda: parts.tails.events),
        ("homing_event_cache_bytes", "Parsed events in memory, estimated", lambda: parts.reader.cached_bytes),
    ):
        watch(name, documentation, read, registry=registry)
