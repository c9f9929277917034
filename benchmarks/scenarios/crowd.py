"""A room of a thousand people: each message is judged by everybody's push rules, and everybody's presence changes."""

import asyncio
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from attrs import define, frozen

from benchmarks.connection import Connection
from benchmarks.figures import Better, Figure, cost_figures
from benchmarks.load import times
from benchmarks.matrix import Account, Client, register, room_of
from benchmarks.scenarios.marks import next_batch
from benchmarks.scenarios.scenario import Round, Scale, Scenario
from benchmarks.servers import Site

MESSAGES = 50
KEYWORDS = 10  # every tenth member has a word of its own
WATCHERS = 10
CONNECTIONS = 4
STATES = ("online", "unavailable")


@frozen
class Crowd:
    """The room and who is in it; `senders` share few connections."""

    room_id: str
    speaker: Client
    members: Sequence[Account]
    connections: Sequence[Connection]


async def crowd(site: Site, scale: Scale) -> Round:
    people = await _crowd(site, scale.crowded)
    states = _States()

    async def run() -> list[Figure]:
        figures = await _messages(site, people)
        return figures + await _presence(site, people, states.next())

    return run


async def _messages(site: Site, people: Crowd) -> list[Figure]:
    """One after another; a word in them is somebody's."""

    async def send() -> None:
        await people.speaker.send(people.room_id, "Has anybody seen keyword10 since the meeting?")

    await site.gauge.quiet()
    cost = await site.gauge.cost(lambda: times(MESSAGES, [send]))
    wall = Figure("ms a message", 1000 / cost.per_second, Better.LESS)
    return [wall, cost_figures(cost, "message")[1]]


async def _presence(site: Site, people: Crowd, state: str) -> list[Figure]:
    """All change; a few of them wait for the news of all others."""
    watchers = [Client(account, Connection(site.address)) for account in people.members[:WATCHERS]]
    starts = [next_batch(await watcher.sync("set_presence=offline")) for watcher in watchers]
    waiting = [asyncio.create_task(_watch(*each)) for each in zip(watchers, starts, strict=True)]
    changing = people.members[WATCHERS:]
    accounts = iter(changing)
    steps = [_Change(accounts, connection, state).step for connection in people.connections]
    try:
        await site.gauge.quiet()
        cost = await site.gauge.cost(lambda: times(len(changing), steps))
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for watcher in watchers:
            watcher.connection.close()
    return cost_figures(cost, "presence change")[:2]


@define
class _Change:
    """Changes one user after another."""

    accounts: Iterator[Account]
    connection: Connection
    state: str

    async def step(self) -> None:
        client = Client(next(self.accounts), self.connection)
        path = f"/presence/{quote(client.account.user_id)}/status"
        await client.call("PUT", path, {"presence": self.state, "status_msg": "in a meeting"})


@define
class _States:
    """Each round brings another state than the one before."""

    rounds: int = 0

    def next(self) -> str:
        self.rounds += 1
        return STATES[self.rounds % len(STATES)]


async def _watch(watcher: Client, since: str) -> None:
    while True:
        since = next_batch(await watcher.sync(f"timeout=30000&set_presence=offline&since={since}"))


async def _crowd(site: Site, size: int) -> Crowd:
    members = await register(site.address, size)
    connections = [Connection(site.address) for _ in range(CONNECTIONS)]
    speaker = Client(members[-1], connections[0])
    room_id = await room_of([Client(account, connections[0]) for account in [members[-1], *members[:-1]]])
    for number, account in enumerate(members[::KEYWORDS]):
        word = f"keyword{number}"
        rule = {"pattern": word, "actions": ["notify", {"set_tweak": "highlight"}]}
        await Client(account, connections[1]).call("PUT", f"/pushrules/global/content/{word}", rule)
    return Crowd(room_id, speaker, members, connections)


SCENARIOS = [
    Scenario(
        "crowd",
        "A room of {scale.crowded} members: messages judged by their push rules, presence of all of them",
        crowd,
    )
]
