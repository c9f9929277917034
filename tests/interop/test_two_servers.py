"""Servers of ours in processes of their own share rooms."""

import pytest

from tests.interop.follower import agree_on
from tests.interop.sites import Pair
from tests.interop.stories.partitions import PartitionStories, stopped
from tests.interop.stories.people import PeopleStories
from tests.interop.stories.rooms import RoomStories
from tests.kit.server import segment

pytestmark = [pytest.mark.interop, pytest.mark.timeout(180)]


@pytest.fixture
def pair(ours, another) -> Pair:
    return Pair(ours, another)


class TestRooms(RoomStories):
    pass


class TestPeople(PeopleStories):
    pass


class TestPartitions(PartitionStories):
    pass


class TestThree:
    """A room on three servers, of which each may be away."""

    async def test_all_speak(self, ours, another, third):
        alice, bob, carol = await ours.user("alice"), await another.user("bob"), await third.user("carol")
        room_id = await alice.create()
        await bob.join(room_id, via=alice.server)
        await carol.join(room_id, via=bob.server)
        for user in (alice, bob, carol):
            event_id = await user.say(room_id)
            for other in (alice, bob, carol):
                await other.sees(room_id, event_id)
        await agree_on(alice, bob, room_id)
        await agree_on(bob, carol, room_id)

    async def test_the_founder_is_gone(self, ours, another, third):
        alice, bob, carol = await ours.user("alice"), await another.user("bob"), await third.user("carol")
        room_id = await alice.create()
        await bob.join(room_id, via=alice.server)
        await alice.sees_member(room_id, bob.user_id, "join")
        # Carol's server has heard of Alice's before: without a notary, nobody else is believed about its keys.
        await alice.client.get(f"/v3/profile/{segment(carol.user_id)}")
        async with stopped(ours):
            await carol.join(room_id, via=bob.server)
            await bob.sees(room_id, await carol.say(room_id, "nobody home?"))
            last = await bob.say(room_id, "not just now")
        await carol.say(room_id, "back?")
        await alice.sees(room_id, last)
        await agree_on(alice, bob, room_id)
        await agree_on(alice, carol, room_id)

    async def test_one_misses_what_two_said(self, ours, another, third):
        alice, bob, carol = await ours.user("alice"), await another.user("bob"), await third.user("carol")
        room_id = await alice.create()
        await bob.join(room_id, via=alice.server)
        await carol.join(room_id, via=alice.server)
        for user in (alice, bob):
            await user.sees_member(room_id, carol.user_id, "join")
        async with stopped(third, kill=True):
            for number in range(20):
                event_id = await (alice if number % 2 else bob).say(room_id, f"number {number}")
                await (bob if number % 2 else alice).sees(room_id, event_id)
        await bob.say(room_id, "are you there?")
        await carol.say(room_id, "here again")
        await agree_on(alice, carol, room_id)
        await agree_on(bob, carol, room_id)
