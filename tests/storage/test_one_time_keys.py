"""Claimed keys are remembered for a while, and not for ever."""

from storage import one_time_keys
from storage.database import Connection, Database
from storage.devices import delete_devices, open_device
from storage.one_time_keys import UploadedKey

DAY = 24 * 3600 * 1000
KEPT = 7 * DAY
PLAIN = "plain"


async def _upload(conn: Connection, device: int, names: str, *, day: int) -> list[UploadedKey]:
    keys = [UploadedKey(PLAIN, name, f'"key {name}"') for name in names]
    now = day * DAY
    await one_time_keys.prepare(conn, device, [PLAIN], now=now, before=now - KEPT)
    return await one_time_keys.add(conn, device, keys)


async def _claim(conn: Connection, device: int) -> str | None:
    claimed = await one_time_keys.claim(conn, [device], PLAIN)
    return claimed[0].key_id if claimed else None


async def _names(conn: Connection) -> str:
    rows = await conn.fetch("SELECT key_id FROM one_time_keys ORDER BY ord")
    return "".join(row[0] for row in rows)


async def test_claimed_keys_go_after_a_week_and_before_two(database: Database) -> None:
    async with database.transaction() as conn:
        device, _ = await open_device(conn, 1, "D", display_name=None, now=1)
        await _upload(conn, device, "abc", day=0)
        assert [await _claim(conn, device) for _ in range(2)] == ["a", "b"]
        await _upload(conn, device, "abd", day=6)  # repeated: not brought back
        assert await _names(conn) == "abcd"
        await _upload(conn, device, "e", day=8)  # marks a and b
        assert await _claim(conn, device) == "c"
        await _upload(conn, device, "ab", day=14)
        assert await _names(conn) == "abcde"
        await _upload(conn, device, "f", day=16)  # a week after the mark
        assert await _names(conn) == "cdef"
        assert await one_time_keys.counts(conn, device) == {PLAIN: 3}
        assert [await _claim(conn, device) for _ in range(4)] == ["d", "e", "f", None]


async def test_what_is_lost_with_a_database_is_not_given_out(database: Database) -> None:
    async with database.transaction() as conn:
        device, _ = await open_device(conn, 1, "D", display_name=None, now=1)
        await _upload(conn, device, "ab", day=0)
        await one_time_keys.forget_unclaimed(conn, device)
        assert await one_time_keys.counts(conn, device) == {}
        await _upload(conn, device, "abc", day=0)
        assert [await _claim(conn, device) for _ in range(2)] == ["c", None]


async def test_keys_go_with_their_device(database: Database) -> None:
    async with database.transaction() as conn:
        device, _ = await open_device(conn, 1, "D", display_name=None, now=1)
        other, _ = await open_device(conn, 1, "E", display_name=None, now=1)
        for each in (device, other):
            await _upload(conn, each, "ab", day=0)
        await delete_devices(conn, 1, device_ids=["D"])
        assert await _claim(conn, device) is None
        assert await _claim(conn, other) == "a"
        assert await conn.fetchval("SELECT count(*) FROM one_time_keys") == 2
        assert await conn.fetchval("SELECT count(*) FROM one_time_key_queues") == 1
