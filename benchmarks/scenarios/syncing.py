"""Answers to `/sync` of an account in many rooms: the first one, and empty ones."""

from collections.abc import Sequence

from attrs import define

from benchmarks.figures import Better, Figure, cost_figures
from benchmarks.load import WARM_UP_SECONDS, Step, for_seconds, times
from benchmarks.matrix import Client, log_in, register_clients
from benchmarks.scenarios.marks import next_batch
from benchmarks.scenarios.scenario import Round, Scale, Scenario
from benchmarks.servers import Site

FRIENDS = 4
MESSAGES = 10
READERS = 4
INITIAL_SYNCS = 2


async def initial(site: Site, scale: Scale) -> Round:
    """Each sync is the first of its account: nothing about that account has been asked before."""
    members = iter(await members_of_many(site, scale.rooms, scale.rounds * INITIAL_SYNCS))
    sizes: list[int] = []

    async def step() -> None:
        sizes.append(len(await next(members).sync("timeout=0")))

    async def run() -> list[Figure]:
        await site.gauge.quiet()
        cost = await site.gauge.cost(lambda: times(INITIAL_SYNCS, [step]))
        wall = Figure("ms an initial sync", 1000 * cost.seconds / cost.operations, Better.LESS)
        size = Figure("kB of the answer", sizes[-1] / 1000, Better.NEITHER)
        return [wall, *cost_figures(cost, "initial sync")[1:], size]

    return run


async def empty(site: Site, scale: Scale) -> Round:
    [member] = await members_of_many(site, scale.rooms, 1)
    # Equal requests of one device at the same time would be answered by one piece of work.
    readers = [await log_in(site.address, member) for _ in range(READERS)]

    async def run() -> list[Figure]:
        first = next_batch(await member.sync("timeout=0"))
        steps: list[Step] = [_Follower(reader, first).step for reader in readers]
        await for_seconds(WARM_UP_SECONDS, steps)
        await site.gauge.quiet()
        return cost_figures(await site.gauge.cost(lambda: for_seconds(scale.seconds, steps)), "sync")

    return run


@define
class _Follower:
    """A client that asks on from the token it was given last: a friend's presence is news once, not for ever."""

    reader: Client
    since: str

    async def step(self) -> None:
        self.since = next_batch(await self.reader.sync(f"since={self.since}&timeout=0"))


async def members_of_many(site: Site, rooms: int, count: int, *, messages: int = MESSAGES) -> list[Client]:
    """Accounts in rooms that friends made and wrote in."""
    friends = await register_clients(site.address, FRIENDS)
    members = await register_clients(site.address, count)
    for number in range(rooms):
        room_id = await _room_with(friends[number % FRIENDS], members, number)
        for _ in range(messages):
            await friends[number % FRIENDS].send(room_id)
    return members


async def _room_with(friend: Client, members: Sequence[Client], number: int) -> str:
    room_id = await friend.create_room(preset="public_chat", name=f"Room {number}", topic="Many rooms")
    for member in members:
        await member.join(room_id)
    return room_id


SCENARIOS = [
    Scenario("initial_sync", "First initial sync of an account in {scale.rooms} rooms", initial),
    Scenario("empty_sync", f"Empty incremental syncs of that account, {READERS} devices at once", empty),
]
