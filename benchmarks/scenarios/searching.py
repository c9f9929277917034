"""Search in the messages of one account's rooms.

What is found was said by clients. Most of what is not found goes into each server's index directly: to say it would
take half an hour, and a search reads nothing else of it.
"""

from collections.abc import Awaitable, Callable

import orjson

from benchmarks.figures import Better, Figure, cost_figures
from benchmarks.load import times
from benchmarks.matrix import Client, register_clients, room_of
from benchmarks.scenarios.scenario import Round, Scale, Scenario
from benchmarks.servers import Site

ROOMS = 10
FOUND = 40  # messages that each search finds
SEARCHES = 200
WORDS = 5000  # of the language in which nothing is found
LENGTH = 12  # words of a message
ORDERS = ("rank", "recent")
SAID = "the harvest festival begins when the lanterns are lit and nobody sleeps"

# The words of message n are the same for both, many of them frequent and few rare.
_TEXT = f"""
SELECT n, string_agg('w' || floor({WORDS} * power(abs(hashint8(n * {LENGTH} + i)) / 2147483648.0, 2)), ' ') AS body
  FROM generate_series(1, {{count}}) AS n, generate_series(1, {LENGTH}) AS i
 GROUP BY n
"""
_OURS = """
INSERT INTO search_documents (event_nid, ts, room_nid, part, words)
SELECT 1000000000000 + n, n, room_nid, 0, to_tsvector('simple', body) || ('''!' || room_nid || ''':1')::tsvector
  FROM ({text}) AS said
  JOIN (SELECT room_nid, row_number() OVER (ORDER BY room_nid) - 1 AS place FROM rooms WHERE room_id = ANY('{rooms}'))
       AS r ON place = n % {of}
"""
_THEIRS = """
INSERT INTO event_search (event_id, room_id, sender, key, vector, origin_server_ts, stream_ordering)
SELECT '$filler' || n, ('{rooms}'::text[])[1 + n % {of}], '@nobody:localhost', 'content.body',
       to_tsvector('english', body), n, -n
  FROM ({text}) AS said
"""


async def search(site: Site, scale: Scale) -> Round:
    [seeker] = await register_clients(site.address, 1)
    rooms = [await room_of([seeker]) for _ in range(ROOMS)]
    for number in range(FOUND):
        await seeker.send(rooms[number % ROOMS], f"{SAID}, number {number}")
    await _fill(site, rooms, scale.searched - FOUND)
    await _until_found(seeker)

    async def run() -> list[Figure]:
        figures: list[Figure] = []
        for order in ORDERS:
            await site.gauge.quiet()
            cost = await site.gauge.cost(_searches(seeker, order))
            figures.append(Figure(f"ms a search by {order}", 1000 / cost.per_second, Better.LESS))
            figures += cost_figures(cost, f"search by {order}")[1:4]
        return figures

    return run


async def _fill(site: Site, rooms: list[str], count: int) -> None:
    listed = "{" + ",".join(f'"{room_id}"' for room_id in rooms) + "}"
    ours = site.name == "Homing"
    statement = (_OURS if ours else _THEIRS).format(
        text=_TEXT.format(count=count), rooms=listed, of=len(rooms)
    )
    await site.cluster.ask(statement)
    await site.cluster.ask("ANALYZE " + ("search_documents" if ours else "event_search"))


async def _until_found(seeker: Client) -> None:
    """Indexes follow a moment later."""
    while await _found(seeker, "recent") < FOUND:
        pass


async def _found(seeker: Client, order: str) -> int:
    wanted = {"search_term": "harvest lanterns", "keys": ["content.body"], "order_by": order}
    answer = await seeker.call("POST", "/search", {"search_categories": {"room_events": wanted}})
    return int(orjson.loads(answer)["search_categories"]["room_events"]["count"])


def _searches(seeker: Client, order: str) -> Callable[[], Awaitable[int]]:
    return lambda: times(SEARCHES, [lambda: _found(seeker, order)])


SCENARIOS = [Scenario("search", "Search in {scale.searched} messages", search)]
