"""What wakes those who wait, and what may wait a moment itself."""

import asyncio

from homeserver.services.notifier import Notifier
from storage.committer import Committed, Kind, Touched

ALICE, ROOM = 7, 3
LONG = 60.0


async def rooms(_: int) -> list[int]:
    return [ROOM]


def happens(notifier: Notifier, kind: Kind) -> None:
    position = notifier.position + 1
    notifier.announce(position, [Committed(position, None, Touched(rooms=(ROOM,), kind=kind))])


async def test_presence_that_comes_alone_waits_for_more() -> None:
    notifier = Notifier(rooms)
    alice = await notifier.active(ALICE)
    happens(notifier, Kind.PRESENCE)
    lull = asyncio.create_task(notifier.lull(alice, 0, LONG))
    for _ in range(3):
        happens(notifier, Kind.PRESENCE)
        await asyncio.sleep(0)
        assert not lull.done()
    happens(notifier, Kind.TYPING)
    async with asyncio.timeout(LONG):
        await lull


async def test_a_lull_is_short() -> None:
    notifier = Notifier(rooms)
    alice = await notifier.active(ALICE)
    happens(notifier, Kind.PRESENCE)
    await notifier.lull(alice, 0, 0.001)
    happens(notifier, Kind.EVENTS)
    async with asyncio.timeout(LONG):
        await notifier.lull(alice, 0, 2 * LONG)
