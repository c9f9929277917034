"""Messages sent: by one user, by many in one room, by many in as many rooms."""

from collections.abc import Sequence
from functools import partial

from benchmarks.figures import Figure, cost_figures
from benchmarks.load import WARM_UP_SECONDS, Step, for_seconds
from benchmarks.matrix import Client, register_clients, room_of
from benchmarks.scenarios.scenario import Round, Scale, Scenario
from benchmarks.servers import Site

USERS = 20


async def one_user(site: Site, scale: Scale) -> Round:
    clients = await register_clients(site.address, 1)
    return _round(site, scale, _senders(clients, [await room_of(clients)]))


async def one_room(site: Site, scale: Scale) -> Round:
    clients = await register_clients(site.address, USERS)
    return _round(site, scale, _senders(clients, [await room_of(clients)] * USERS))


async def many_rooms(site: Site, scale: Scale) -> Round:
    clients = await register_clients(site.address, USERS)
    rooms = [await room_of([client]) for client in clients]
    return _round(site, scale, _senders(clients, rooms))


def _senders(clients: Sequence[Client], rooms: Sequence[str]) -> list[Step]:
    return [partial(client.send, room_id) for client, room_id in zip(clients, rooms, strict=True)]


def _round(site: Site, scale: Scale, steps: Sequence[Step]) -> Round:
    async def run() -> list[Figure]:
        await for_seconds(WARM_UP_SECONDS, steps)
        await site.gauge.quiet()
        return cost_figures(await site.gauge.cost(lambda: for_seconds(scale.seconds, steps)), "message")

    return run


SCENARIOS = [
    Scenario("send_sequential", "One user, one message after another", one_user),
    Scenario("send_one_room", f"{USERS} users in one room", one_room),
    Scenario("send_many_rooms", f"{USERS} users in {USERS} rooms", many_rooms),
]
