"""Bytes of database that a message and a state change take, once all is vacuumed."""

from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count

from benchmarks.figures import Better, Figure
from benchmarks.load import Step, times
from benchmarks.matrix import register_clients
from benchmarks.scenarios.scenario import Round, Scale, Scenario
from benchmarks.servers import Site

WRITERS = 10
STATE_KEYS = 200


async def messages(site: Site, scale: Scale) -> Round:
    """Each writer is alone in a room: no notification, no fork, nothing but the message."""
    clients = await register_clients(site.address, WRITERS)
    steps: list[Step] = [partial(client.send, await client.create_room()) for client in clients]
    return partial(_growth, site, "message", lambda amount: times(amount, steps), scale.stored)


async def state_changes(site: Site, scale: Scale) -> Round:
    """Changes of some hundred keys in one room, over and over."""
    [client] = await register_clients(site.address, 1)
    room_id = await client.create_room()
    numbers = count()

    async def step() -> None:
        number = next(numbers)
        await client.set_state(room_id, f"key{number % STATE_KEYS}", {"value": number})

    return partial(_growth, site, "state change", lambda amount: times(amount, [step]), scale.stored)


async def _growth(site: Site, noun: str, write: Callable[[int], Awaitable[int]], amount: int) -> list[Figure]:
    # The first part fills what is reused later: free pages, first states, statistics.
    await write(amount // 2)
    before = await _sizes(site)
    await write(amount)
    after = await _sizes(site)
    growth = {table: after[table] - before.get(table, 0) for table in after}
    _show(site, growth, amount)
    return [Figure(f"bytes a {noun}", sum(growth.values()) / amount, Better.LESS)]


async def _sizes(site: Site) -> dict[str, int]:
    await site.gauge.quiet()
    await site.cluster.settle()
    return await site.cluster.table_sizes()


def _show(site: Site, growth: dict[str, int], amount: int) -> None:
    largest = sorted(growth.items(), key=lambda item: -item[1])[:8]
    told = ", ".join(f"{table} {size / amount:.0f}" for table, size in largest if size > 0)
    print(f"    {site.name}, bytes by table: {told}", flush=True)


SCENARIOS = [
    Scenario("store_messages", "Database growth by messages", messages, once=True),
    Scenario("store_state", "Database growth by state changes", state_changes, once=True),
]
