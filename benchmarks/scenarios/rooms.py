"""Rooms created, and local users joining a room that grows large."""

from collections.abc import Sequence
from itertools import pairwise

from benchmarks.connection import Connection
from benchmarks.figures import Better, Figure, cost_figures, generator_share
from benchmarks.load import WARM_UP_SECONDS, for_seconds
from benchmarks.matrix import Account, Client, register, register_clients, room_of
from benchmarks.measure import Cost
from benchmarks.scenarios.scenario import Round, Scale, Scenario
from benchmarks.servers import Site

CREATORS = 4
WINDOW = 50


async def created(site: Site, scale: Scale) -> Round:
    steps = [client.create_room for client in await register_clients(site.address, CREATORS)]

    async def run() -> list[Figure]:
        await for_seconds(WARM_UP_SECONDS, steps)
        await site.gauge.quiet()
        return cost_figures(await site.gauge.cost(lambda: for_seconds(scale.seconds, steps)), "room")

    return run


async def joins(site: Site, scale: Scale) -> Round:
    """Joins one after another; the cost around the 100th, the middle and the last."""
    creator = await register_clients(site.address, 1)
    room_id = await room_of(creator)
    accounts = await register(site.address, scale.joins)

    async def run() -> list[Figure]:
        await site.gauge.quiet()
        costs = await _join_in_parts(site, room_id, accounts)
        around = {end: cost for end, cost in costs.items() if cost.operations == 2 * WINDOW}
        figures = [figure for end, cost in around.items() for figure in _join_figures(end - WINDOW, cost)]
        return [*figures, *_growth(list(around.values())), generator_share(list(around.values())[-1])]

    return run


async def _join_in_parts(site: Site, room_id: str, accounts: Sequence[Account]) -> dict[int, Cost]:
    """The cost of each part of the joins, by the number of joins at its end."""
    connection = Connection(site.address)
    costs: dict[int, Cost] = {}
    for start, end in pairwise(boundaries(len(accounts))):

        async def part(some: Sequence[Account] = accounts[start:end]) -> int:
            for account in some:
                await Client(account, connection).join(room_id)
            return len(some)

        costs[end] = await site.gauge.cost(part)
    return costs


def boundaries(total: int) -> list[int]:
    """Where to read the meters: around the 100th join, the one halfway, and the last one that is named."""
    last = total - WINDOW
    centers = {100, last // 2, last}
    edges = {edge for center in centers for edge in (center - WINDOW, center + WINDOW)}
    return sorted(edges | {0})


def _join_figures(number: int, cost: Cost) -> list[Figure]:
    wall = 1000 * cost.seconds / cost.operations
    return [
        Figure(f"ms a join, around the {number}th", wall, Better.LESS),
        Figure(f"CPU ms a join, around the {number}th", cost.cpu_ms(), Better.LESS),
    ]


def _growth(costs: Sequence[Cost]) -> list[Figure]:
    growth = costs[-1].cpu_ms() / costs[0].cpu_ms()
    return [Figure("CPU of the last join against the 100th", growth, Better.LESS)]


SCENARIOS = [
    Scenario("create_rooms", f"Rooms created by {CREATORS} users", created),
    Scenario("joins", "Local joins into a growing public room", joins, once=True),
]
