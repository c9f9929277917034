"""Events that other servers send, rooms of theirs that are joined, and an event for many of them."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from urllib.parse import quote

import orjson

from benchmarks.connection import Connection, RequestFailed
from benchmarks.figures import Better, Figure, cost_figures, generator_share
from benchmarks.matrix import Client, register_clients
from benchmarks.remote_rooms import RemoteRoom, founded
from benchmarks.remote_server import RemoteServers, Sender, remote_servers
from benchmarks.scenarios.scenario import Round, Scale, Scenario
from benchmarks.servers import Site

ORIGINS = 4
ROOMS = 5  # of each origin
TRANSACTION = 50
VISIBLE_SECONDS = 400.0
REPEATS = 5

# What a scenario starts lives as long as the run: nothing tells it when its last round is over.
_alive = AsyncExitStack()


async def receive(site: Site, scale: Scale) -> Round:
    """Transactions of fifty from several servers, each busy in several rooms; until all can be read."""
    servers = await _started(site, ORIGINS)
    [reader] = await register_clients(site.address, 1)
    senders = [Sender(site, signer, Connection(site.address)) for signer in servers.signers]
    rooms = [[servers.keep(founded([sender.signer], 3)) for _ in range(ROOMS)] for sender in senders]
    for room in (room for each in rooms for room in each):
        await _join(reader, room, servers)
    each = scale.pdus // ORIGINS

    async def run() -> list[Figure]:
        prepared = [_transactions(sender, own, each) for sender, own in zip(senders, rooms, strict=True)]
        last = [room.last for own in rooms for room in own]

        async def flood(sender: Sender, batches: Sequence[tuple[str, str, bytes]]) -> int:
            return sum([await sender.send(*batch) for batch in batches])

        async def work() -> int:
            counts = await asyncio.gather(*map(flood, senders, prepared))
            await _visible(reader, last)
            return sum(counts)

        await site.gauge.quiet()
        return cost_figures(await site.gauge.cost(work), "PDU")

    return run


async def join_large(site: Site, scale: Scale) -> Round:
    return await _join_of(site, scale.members)


async def join_crowd(site: Site, scale: Scale) -> Round:
    """Ours alone: the other takes minutes, which shows nothing new."""
    return await _join_of(site, scale.crowd)


async def fan_out(site: Site, scale: Scale) -> Round:
    """One event to as many servers as there are, the first time and when connections are there."""
    servers = await _started(site, scale.destinations)
    [client] = await register_clients(site.address, 1)
    room = servers.keep(founded(servers.signers, scale.destinations))
    await _join(client, room, servers)
    await site.gauge.quiet()

    async def run() -> list[Figure]:
        cold = await site.gauge.cost(lambda: _reach_all(client, room, servers, 1))
        warm = await site.gauge.cost(lambda: _reach_all(client, room, servers, REPEATS))
        to_each = REPEATS * scale.destinations
        return [
            Figure("ms until all have the first event", 1000 * cold.seconds, Better.LESS),
            Figure("ms until all have an event", 1000 * warm.seconds / REPEATS, Better.LESS),
            Figure("CPU ms a destination", warm.cpu_ms() * warm.operations / to_each, Better.LESS),
            generator_share(warm),
        ]

    return run


async def _join_of(site: Site, members: int) -> Round:
    servers = await _started(site, 1)
    [client] = await register_clients(site.address, 1)
    room = servers.keep(founded(servers.signers, members))
    await site.gauge.quiet()

    async def run() -> list[Figure]:
        async def join() -> int:
            await _join(client, room, servers)
            return 1

        before = site.gauge.resident_bytes()
        cost = await site.gauge.cost(join)
        grown = site.gauge.resident_bytes() - before
        known = orjson.loads(await client.call("GET", f"/rooms/{quote(room.room_id)}/joined_members"))
        if len(known["joined"]) != members + 1:
            raise RequestFailed(f"{site.name} knows {len(known['joined'])} of {members + 1} members")
        return [
            Figure("ms a join", 1000 * cost.seconds, Better.LESS),
            Figure("CPU ms a join, server and database", cost.cpu_ms(), Better.LESS),
            Figure("MB more resident afterwards", max(grown, 0) / 1e6, Better.NEITHER),
            generator_share(cost),
        ]

    return run


async def _started(site: Site, count: int) -> RemoteServers:
    return await _alive.enter_async_context(remote_servers(site.authority, count))


async def _join(client: Client, room: RemoteRoom, servers: RemoteServers) -> None:
    via = quote(servers.signers[0].server_name)
    await client.call("POST", f"/join/{quote(room.room_id)}?server_name={via}&via={via}")


def _transactions(sender: Sender, rooms: Sequence[RemoteRoom], count: int) -> list[tuple[str, str, bytes]]:
    """Messages of all rooms in turn, in transactions."""
    said = [
        room.say(room.speakers[number % len(room.speakers)])
        for number in range(count // len(rooms))
        for room in rooms
    ]
    batches = [said[start : start + TRANSACTION] for start in range(0, len(said), TRANSACTION)]
    return [sender.prepare(batch) for batch in batches]


async def _visible(reader: Client, events: Sequence[str]) -> None:
    """Wait until a client is told of these last events of the rooms."""
    missing, since = set(events), ""
    definition = quote('{"room":{"timeline":{"limit":1}},"presence":{"not_types":["*"]}}')
    async with asyncio.timeout(VISIBLE_SECONDS):
        while missing:
            query = f"filter={definition}&timeout=1000{f'&since={since}' if since else ''}"
            said = orjson.loads(await reader.sync(query))
            since = said["next_batch"]
            for room in said.get("rooms", {}).get("join", {}).values():
                missing -= {event["event_id"] for event in room["timeline"]["events"]}


async def _reach_all(client: Client, room: RemoteRoom, servers: RemoteServers, count: int) -> int:
    for _ in range(count):
        path = f"/rooms/{quote(room.room_id)}/send/m.room.message/f{next(client.transactions)}"
        said = await client.call("PUT", path, {"msgtype": "m.text", "body": "to all"})
        event_id = orjson.loads(said)["event_id"]
        await servers.reached(event_id, len(servers.signers), VISIBLE_SECONDS)
    return count


SCENARIOS = [
    Scenario("receive_pdus", f"Messages of {ORIGINS} other servers in {ORIGINS * ROOMS} rooms", receive),
    Scenario(
        "join_remote", "A room of another server joined, {scale.members} members", join_large, once=True
    ),
    Scenario("join_crowd", "The same, {scale.crowd} members", join_crowd, once=True, alone=True),
    Scenario("fan_out", "An event to {scale.destinations} servers", fan_out, once=True),
]
