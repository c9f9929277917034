"""Stories of servers that lose each other: stopped, killed, forked, and of one mind afterwards."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.interop.follower import agree, agree_on
from tests.interop.sites import Pair, Site
from tests.interop.stories.people import met


@asynccontextmanager
async def stopped(site: Site, *, kill: bool = False) -> AsyncIterator[None]:
    """While this lasts, the server does not run."""
    await asyncio.to_thread(site.process.kill if kill else site.process.stop)
    try:
        yield
    finally:
        await asyncio.to_thread(site.process.start)


class PartitionStories:
    """Whoever is stopped is started again; then both end with the same state and messages."""

    async def test_there_was_away(self, pair: Pair):
        alice, bob, room_id = await met(pair)
        async with stopped(pair.there):
            for number in range(60):
                await alice.say(room_id, f"while you slept {number}")
            await alice.set_state(room_id, "m.room.topic", {"topic": "changed"})
            last = await alice.say(room_id, "good morning")
        # It may be asked again only after a pause, which ends when it speaks.
        await bob.say(room_id, "awake")
        await bob.sees(room_id, last)
        await agree_on(alice, bob, room_id)

    async def test_here_was_away(self, pair: Pair):
        alice, bob, room_id = await met(pair)
        async with stopped(pair.here):
            for number in range(60):
                await bob.say(room_id, f"while you slept {number}")
            last = await bob.say(room_id, "good morning")
        await alice.say(room_id, "awake")
        await alice.sees(room_id, last)
        await agree_on(alice, bob, room_id)

    async def test_both_spoke_alone(self, pair: Pair):
        """One goes on, then the other: two branches that neither has heard of."""
        alice, bob, room_id = await met(pair)
        async with stopped(pair.there):
            for number in range(10):
                await alice.say(room_id, f"alone here {number}")
        async with stopped(pair.here):
            for number in range(10):
                await bob.say(room_id, f"alone there {number}")
        await asyncio.gather(alice.say(room_id, "hello?"), bob.say(room_id, "anybody?"))
        await agree_on(alice, bob, room_id)

    async def test_both_changed_the_state(self, pair: Pair):
        alice, bob, room_id = await met(pair, power_level_content_override={"events": {"m.room.topic": 0}})
        async with stopped(pair.there):
            await alice.set_state(room_id, "m.room.topic", {"topic": "here's"})
            await alice.set_state(room_id, "m.room.name", {"name": "here's"})
        async with stopped(pair.here):
            await bob.set_state(room_id, "m.room.topic", {"topic": "there's"})
        await asyncio.gather(alice.say(room_id, "hello?"), bob.say(room_id, "anybody?"))
        await agree_on(alice, bob, room_id)

    async def test_banned_while_away(self, pair: Pair):
        """What was said on the other side before the ban was heard of is not in the room's state."""
        alice, bob, room_id = await met(pair, power_level_content_override={"events": {"m.room.topic": 0}})
        carol = await pair.there.user("carol")
        await carol.join(room_id)
        await alice.sees_member(room_id, carol.user_id, "join")
        async with stopped(pair.there):
            await alice.do("ban", room_id, carol.user_id)
        async with stopped(pair.here):
            await carol.set_state(room_id, "m.room.topic", {"topic": "carol's"})
        await asyncio.gather(alice.say(room_id, "hello?"), bob.say(room_id, "anybody?"))
        await alice.sees_member(room_id, carol.user_id, "ban")
        await bob.sees_member(room_id, carol.user_id, "ban")
        await agree_state(alice, bob, room_id)
        assert ("m.room.topic", "") not in await alice.state(room_id)

    async def test_killed_in_the_midst(self, pair: Pair):
        alice, bob, room_id = await met(pair)
        said = []
        for _ in range(2):
            said += await asyncio.gather(*(alice.say(room_id, f"before {number}") for number in range(20)))
            async with stopped(pair.there, kill=True):
                said += [await alice.say(room_id, f"dead there {number}") for number in range(5)]
            said += [await bob.say(room_id, "risen")]
            said += await asyncio.gather(*(bob.say(room_id, f"after {number}") for number in range(20)))
            async with stopped(pair.here, kill=True):
                said += [await bob.say(room_id, f"dead here {number}") for number in range(5)]
            said += [await alice.say(room_id, "risen")]
        await agree_on(alice, bob, room_id)
        assert set(await alice.messages(room_id)) == set(said)


async def agree_state(one, other, room_id: str) -> None:
    """As agree_on, where messages may be soft-failed on one side only."""
    await agree(one, other, lambda user: user.state(room_id))
