"""How other servers fared is on disk, and comes back."""

from storage import destinations
from storage.destinations import Destination


async def test_kept_and_found(database):
    down = Destination("down.test", 3, 100, 900, 50, "no route")
    worse = Destination("worse.test", 9, 100, 950, 0, "no answer")
    up = Destination("up.test", last_success=70)
    async with database.transaction() as conn:
        await destinations.put(conn, [down, up, Destination("worse.test", 1)])
        await destinations.put(conn, [worse])
    async with database.read() as conn:
        assert await destinations.failing(conn, 10) == [worse, down]
        assert await destinations.failing(conn, 1) == [worse]
        assert await destinations.page(conn, "", 2) == [down, up]
        assert await destinations.page(conn, "up.test", 2) == [worse]
