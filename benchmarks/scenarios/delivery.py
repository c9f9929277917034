"""From send to visible: a hundred clients wait in one room while messages come at a steady pace.

The pace is kept whatever the server does, and a delay counts from the moment at which the message was due: a server
that falls behind shows it.
"""

import asyncio
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress

from attrs import Factory, define, frozen

from benchmarks.connection import Connection
from benchmarks.figures import Better, Figure, generator_share, percentile
from benchmarks.matrix import Client, register_clients, room_of
from benchmarks.measure import Cost
from benchmarks.scenarios.marks import mark, marks, next_batch
from benchmarks.scenarios.scenario import Round, Scale, Scenario
from benchmarks.servers import Site

WATCHERS = 100
SENDERS = 20
SLOW, FAST = 2, 50
WAIT_MS = 30_000
STALLED_SECONDS = 15.0
ARRIVING_SECONDS = 2.0  # presence is gathered before it is told: by then all know that the hundred are here

# So large that a slow server's answer still holds all that came meanwhile.
FILTER = {"room": {"timeline": {"limit": 100}}}


@define
class Deliveries:
    """What the watchers of one run have seen."""

    run: str
    expected: int
    due: list[float] = Factory(list)
    delays: list[float] = Factory(list)
    progress: asyncio.Event = Factory(asyncio.Event)

    def seen(self, answer: bytes) -> None:
        numbers = marks(self.run, answer)
        if numbers:
            now = time.monotonic()
            self.delays.extend(now - self.due[number] for number in numbers)
            self.progress.set()

    async def all_seen(self) -> None:
        """Wait for the last; give up when nothing has come for a while."""
        with suppress(TimeoutError):
            while len(self.delays) < self.expected:
                self.progress.clear()
                async with asyncio.timeout(STALLED_SECONDS):
                    await self.progress.wait()


@frozen
class Room:
    """A room with the clients that wait in it and those that write in it."""

    room_id: str
    watchers: Sequence[Client]
    senders: Sequence[Client]
    filter_ids: Sequence[str]


async def slow(site: Site, scale: Scale) -> Round:
    # Twice as long, as few messages say little.
    return _round(site, await _room(site), SLOW, 2 * scale.deliveries_seconds)


async def fast(site: Site, scale: Scale) -> Round:
    return _round(site, await _room(site), FAST, scale.deliveries_seconds)


async def _room(site: Site) -> Room:
    watchers = await register_clients(site.address, WATCHERS)
    senders = [Client(client.account, Connection(site.address)) for client in watchers[:SENDERS]]
    filter_ids = [await client.upload_filter(FILTER) for client in watchers]
    return Room(await room_of(watchers), watchers, senders, filter_ids)


def _round(site: Site, room: Room, pace: int, seconds: float) -> Round:
    async def run() -> list[Figure]:
        count = int(pace * seconds)
        deliveries = Deliveries(secrets.token_hex(4), count * WATCHERS)
        starts = await _start_points(room)
        waiting = [asyncio.create_task(_watch(*each, deliveries)) for each in starts]
        try:
            await asyncio.sleep(ARRIVING_SECONDS)
            await site.gauge.quiet()
            cost = await site.gauge.cost(lambda: _send_paced(room, deliveries, pace, count))
        finally:
            await _end(waiting)
        return _figures(deliveries, cost)

    return run


async def _start_points(room: Room) -> list[tuple[Client, str, str]]:
    points = []
    for client, filter_id in zip(room.watchers, room.filter_ids, strict=True):
        points.append((client, filter_id, next_batch(await client.sync(f"filter={filter_id}"))))
    return points


async def _watch(client: Client, filter_id: str, since: str, deliveries: Deliveries) -> None:
    while True:
        answer = await client.sync(f"filter={filter_id}&timeout={WAIT_MS}&since={since}")
        deliveries.seen(answer)
        since = next_batch(answer)


async def _send_paced(room: Room, deliveries: Deliveries, pace: int, count: int) -> int:
    start = time.monotonic()
    deliveries.due.extend(start + number / pace for number in range(count))
    lanes = (range(lane, count, SENDERS) for lane in range(SENDERS))
    await asyncio.gather(
        *(
            _send_lane(client, room.room_id, lane, deliveries)
            for client, lane in zip(room.senders, lanes, strict=True)
        )
    )
    await deliveries.all_seen()
    return count


async def _send_lane(client: Client, room_id: str, numbers: Sequence[int], deliveries: Deliveries) -> None:
    """Every twentieth message by the same sender, each when it is due or as soon after as the server lets it."""
    for number in numbers:
        await asyncio.sleep(deliveries.due[number] - time.monotonic())
        await client.send(room_id, mark(deliveries.run, number))


async def _end(tasks: Sequence["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


def _figures(deliveries: Deliveries, cost: Cost) -> list[Figure]:
    delays = deliveries.delays
    missing = 100 * (1 - len(delays) / deliveries.expected)
    return [
        Figure("ms to visible, median", 1000 * percentile(delays, 50), Better.LESS),
        Figure("ms to visible, 99th percentile", 1000 * percentile(delays, 99), Better.LESS),
        Figure("CPU ms a message, server and database", cost.cpu_ms(), Better.LESS),
        Figure("never visible, %", missing, Better.NEITHER),
        generator_share(cost),
    ]


SCENARIOS = [
    Scenario("delivery_slow", f"{WATCHERS} syncs waiting in one room, {SLOW} messages a second", slow),
    Scenario("delivery_fast", f"{WATCHERS} syncs waiting in one room, {FAST} messages a second", fast),
]
