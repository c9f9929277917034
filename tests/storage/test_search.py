"""How a search is carried out by the database."""

from collections.abc import Iterable
from typing import Any

import orjson
from attrs import define, field

from storage.database import Connection
from storage.search import Search, hits


@define
class Watched:
    """A connection that asks, of each statement, how it is carried out once it was used often."""

    conn: Connection
    plans: list[Any] = field(factory=list)

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        await self.conn.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await self.conn.execute(f"PREPARE watched AS {query}")
        plan = await self.conn.fetchval(
            f"EXPLAIN (FORMAT JSON) EXECUTE watched ({', '.join(map(literal, args))})"
        )
        self.plans.append(orjson.loads(plan))
        await self.conn.execute("DEALLOCATE watched")
        return await self.conn.fetch(query, *args)


def literal(value: Any) -> str:
    """A value as SQL has it."""
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return f"ARRAY[{', '.join(map(literal, value))}]"
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)


class NoEvents:
    """A reader of events, where there are none."""

    async def read(self, conn: Connection, rows: list[Any]) -> list[Any]:
        assert not rows
        return []


async def test_what_was_said_in_a_room_is_not_read_through(database):
    """Also where the planner's numbers are old, and say that little was ever said in these rooms."""
    nids = list(range(1, 11))
    async with database.transaction() as conn:
        await fill(conn, range(9000, 9400), 50)
        await conn.execute("ANALYZE search_documents")
        await fill(conn, nids, 1000)
        rooms = " | ".join(f"'!{nid}'" for nid in nids)
        for recent in (True, False):
            watched = Watched(conn)
            query = f"'harvest':* & 'lanterns':* & ( {rooms} )"
            search = Search(query=query, room_nids=nids, parts=[0], recent=recent)
            assert await hits(watched, NoEvents(), search, None, 10) == ([], 0)
            used = indexes(watched.plans)
            assert "search_documents_by_word" in used
            assert "search_documents_of_room" not in used


async def fill(conn: Connection, room_nids: Iterable[int], count: int) -> None:
    """Say nothing much in the rooms, very often."""
    await conn.execute(
        """
        INSERT INTO search_documents (event_nid, ts, room_nid, part, words)
        SELECT 1000000000 + r * 100000 + n, n, r, 0,
               array_to_tsvector(ARRAY['!' || r, 'w' || n % 50, rpad('x', 200, 'x')])
          FROM generate_series(1, $2::int) AS n, unnest($1::int[]) AS r
        """,
        list(room_nids),
        count,
    )


def indexes(plan: Any) -> set[str]:
    """The names of the indexes that a plan uses."""
    if isinstance(plan, list):
        return set().union(*map(indexes, plan))
    if isinstance(plan, dict):
        named = {plan["Index Name"]} if "Index Name" in plan else set()
        return named.union(*map(indexes, plan.values()))
    return set()
