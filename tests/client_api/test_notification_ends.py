"""Rows of notifications end: by what is read, and by their age; what is counted stays as it is."""

from homeserver.services.notification_ends import DAY_MS, NotificationEnds
from tests.client_api.test_push_counts import counts, mention, read
from tests.kit.server import Client, RunningServer
from tests.kit.sync_calls import create, join, pair, say


class Days:
    """A clock that tests turn on, and the work of each day."""

    def __init__(self, server: RunningServer) -> None:
        self.now = 1000 * DAY_MS
        self.ends = NotificationEnds(server.database, lambda: self.now)

    async def pass_(self, days: int) -> None:
        await self.ends.drop()
        self.now += days * DAY_MS
        await self.ends.drop()


async def rows(server: RunningServer) -> int:
    async with server.database.read() as conn:
        found: int = await conn.fetchval("SELECT count(*) FROM notifications")
        return found


async def listed(client: Client) -> int:
    return len((await client.get("/v3/notifications"))["notifications"])


async def test_what_all_have_read_goes_after_a_month(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    days = Days(server)
    events = [await say(alice, room_id, str(number)) for number in range(4)]
    await read(alice, room_id, events[3])
    await read(bob, room_id, events[1])
    before = await rows(server)
    await days.pass_(29)
    assert await rows(server) == before
    assert await listed(bob) == 4
    await days.pass_(2)
    assert await rows(server) == before - 2
    assert await listed(bob) == 2
    assert await counts(bob, room_id) == (2, 0)
    await read(bob, room_id, events[3], "m.read.private")
    await days.pass_(1)
    assert await rows(server) == 0


async def test_who_never_reads_keeps_them_for_half_a_year(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    days = Days(server)
    last = await say(alice, room_id, "hello", **mention(bob))
    await read(alice, room_id, last)
    await days.pass_(100)
    await say(alice, room_id, "later")
    await days.pass_(79)
    assert await counts(bob, room_id) == (2, 1)
    await days.pass_(2)
    assert await listed(bob) == 1


async def test_rooms_that_nobody_is_in_keep_none(server: RunningServer) -> None:
    alice, bob, room_id = await pair(server)
    days = Days(server)
    await say(alice, room_id, "hello")
    kept = await create(alice)
    await join(bob, kept)
    await say(alice, kept, "hello")
    for client in (alice, bob):
        await client.post(f"/v3/rooms/{room_id}/leave", {})
    before = await rows(server)
    await days.pass_(31)
    assert 0 < await rows(server) < before
    assert await counts(bob, kept) == (1, 0)


async def test_it_is_once_a_day(server: RunningServer) -> None:
    days = Days(server)
    for _ in range(30):
        await days.pass_(0)
        days.now += DAY_MS // 10
    async with server.database.read() as conn:
        assert await conn.fetchval("SELECT count(*) FROM clock_marks") == 3
