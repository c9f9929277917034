"""Sliding sync [MSC4186]: the first window of an account in many rooms, and requests to which nothing is new."""

from collections.abc import Awaitable, Callable

import orjson
from attrs import define

from benchmarks.figures import Better, Figure, cost_figures
from benchmarks.load import WARM_UP_SECONDS, Step, for_seconds, times
from benchmarks.matrix import Client, log_in
from benchmarks.measure import Cost
from benchmarks.scenarios.scenario import Round, Scale, Scenario
from benchmarks.scenarios.syncing import members_of_many
from benchmarks.servers import Site

READERS = 4
WINDOWS = 4  # first windows in one round
PATH = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"

# About what today's clients ask for when they start.
WINDOW = {
    "ranges": [[0, 19]],
    "timeline_limit": 1,
    "required_state": [
        ["m.room.name", ""],
        ["m.room.encryption", ""],
        ["m.room.member", "$LAZY"],
        ["m.room.member", "$ME"],
        ["m.room.avatar", ""],
        ["m.room.canonical_alias", ""],
        ["m.room.power_levels", ""],
        ["m.room.create", ""],
    ],
}
BODY = {
    "conn_id": "room-list",
    "lists": {"all": WINDOW},
    "extensions": {name: {"enabled": True} for name in ("account_data", "receipts", "typing")},
}


async def first_window(site: Site, scale: Scale) -> Round:
    """Each is the first of its account."""
    members = await members_of_many(site, scale.rooms, scale.rounds * WINDOWS)
    windows = iter(members)
    sizes: list[int] = []

    async def step() -> None:
        sizes.append(len(await ask(next(windows))))

    async def run() -> list[Figure]:
        await site.gauge.quiet()
        cost = await site.gauge.cost(lambda: times(WINDOWS, [step]))
        wall = Figure("ms a first window", 1000 * cost.seconds / cost.operations, Better.LESS)
        size = Figure("kB of the answer", sizes[-1] / 1000, Better.NEITHER)
        return [wall, *cost_figures(cost, "first window")[1:], size]

    return run


async def idle(site: Site, scale: Scale) -> Round:
    [member] = await members_of_many(site, scale.rooms, 1)
    readers = [await log_in(site.address, member) for _ in range(READERS)]

    async def run() -> list[Figure]:
        steps: list[Step] = [await _follower(reader) for reader in readers]
        await for_seconds(WARM_UP_SECONDS, steps)
        await site.gauge.quiet()
        return cost_figures(await site.gauge.cost(lambda: for_seconds(scale.seconds, steps)), "round")

    return run


async def large_account(site: Site, scale: Scale) -> Round:
    """Ours alone: the other takes minutes to make the rooms."""
    [member] = await members_of_many(site, scale.large_account, 1, messages=1)

    async def run() -> list[Figure]:
        figures = []
        for what, costs in (
            ("first window", await _cost(member)),
            ("window of a further device", await _cost(await log_in(site.address, member))),
        ):
            figures.append(Figure(f"ms a {what}", 1000 * costs.seconds, Better.LESS))
            figures.append(Figure(f"CPU ms a {what}, server and database", costs.cpu_ms(), Better.LESS))
        return figures

    async def _cost(client: Client) -> Cost:
        await site.gauge.quiet()
        return await site.gauge.cost(_asking(client))

    return run


def _asking(client: Client) -> Callable[[], Awaitable[int]]:
    async def once() -> int:
        await ask(client)
        return 1

    return once


async def ask(client: Client, pos: str = "") -> bytes:
    """One request; anything but success ends the benchmark."""
    target = f"{PATH}?timeout=0" + (f"&pos={pos}" if pos else "")
    return await client.request("POST", target, orjson.dumps(BODY))


@define
class _Follower:
    """A client that goes on from its last position."""

    reader: Client
    pos: str

    async def step(self) -> None:
        self.pos = orjson.loads(await ask(self.reader, self.pos))["pos"]


async def _follower(reader: Client) -> Step:
    return _Follower(reader, orjson.loads(await ask(reader))["pos"]).step


SCENARIOS = [
    Scenario("first_window", "Sliding sync: first window of 20 of {scale.rooms} rooms", first_window),
    Scenario("idle_round", f"Sliding sync: requests without news, {READERS} devices at once", idle),
    Scenario(
        "large_account",
        "Sliding sync: first window of an account in {scale.large_account} rooms",
        large_account,
        once=True,
        alone=True,
    ),
]
