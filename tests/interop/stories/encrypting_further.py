"""What clients do beyond the plain case: devices that sleep on the server, history for guests, codes to scan."""

import asyncio

from tests.interop.crypto_agent import Agent
from tests.interop.sites import Pair
from tests.interop.stories.encryption import heard_by, met

SESSIONS = 60  # more keys of rooms than one answer has messages, together with what else is sent


class FurtherEncryptionStories:
    """Alice lives here and Bob there."""

    async def test_a_device_sleeps_on_the_server(self, pair: Pair, agent: Agent):
        """Bob has no device for a while; who sleeps takes the keys, and his next device reads all [MSC3814]."""
        alice, bob, room_id = await met(pair, agent)
        recovery_key = await bob.do("bootstrap")
        sleeper = await bob.do("dehydrate")
        await alice.do("knows", user=bob.user_id, other=sleeper)
        await bob.logout()
        said = []
        for number in range(SESSIONS):
            await alice.do("discard", room=room_id)
            said.append(await alice.say(room_id, f"number {number}"))
        laptop = await bob.another_device()
        await laptop.enters(room_id)
        await laptop.do("recover", recoveryKey=recovery_key)
        assert await laptop.do("unreadable", room=room_id, event=said[-1])
        assert await laptop.do("rehydrate") >= SESSIONS
        await laptop.reads(room_id, said)
        assert await laptop.do("rehydrate") == 0  # another one sleeps now, with an empty inbox
        await laptop.reads(room_id, [await heard_by(alice, laptop, room_id)])

    async def test_a_guest_reads_what_was_said_before(self, pair: Pair, agent: Agent):
        """Who invites sends the keys of the history that the guest may see [MSC4268]."""
        alice, bob = await asyncio.gather(
            agent.register(pair.here, "alice"), agent.register(pair.there, "bob")
        )
        await asyncio.gather(alice.do("bootstrap"), bob.do("bootstrap"))
        room_id = await alice.create()
        said = []
        for number in range(5):
            await alice.do("discard", room=room_id)
            said.append(await alice.say(room_id, f"before you {number}"))
        await alice.invite(room_id, bob.user_id)
        await bob.join(room_id)
        await alice.sees_member(room_id, bob.user_id, "join")
        await bob.reads(room_id, said)
        await bob.reads(room_id, [await heard_by(alice, bob, room_id)])

    async def test_a_guest_does_not_read_hidden_history(self, pair: Pair, agent: Agent):
        alice, bob = await asyncio.gather(
            agent.register(pair.here, "alice"), agent.register(pair.there, "bob")
        )
        await asyncio.gather(alice.do("bootstrap"), bob.do("bootstrap"))
        hidden = {"type": "m.room.history_visibility", "content": {"history_visibility": "invited"}}
        encrypted = {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
        room_id = await alice.create(initial_state=[encrypted, hidden])
        before = await alice.say(room_id, "before you")
        await alice.invite(room_id, bob.user_id)
        await alice.sees_member(room_id, bob.user_id, "invite")
        invited = await alice.say(room_id, "after the invitation")
        await bob.join(room_id)
        await alice.sees_member(room_id, bob.user_id, "join")
        await bob.reads(room_id, [invited, await heard_by(alice, bob, room_id)])
        assert not await bob.do("sees", room=room_id, event=before)

    async def test_people_scan_codes(self, pair: Pair, agent: Agent):
        """In their room; and a new device of one of them, which the other one trusts then."""
        alice, bob, room_id = await met(pair, agent)
        await asyncio.gather(alice.do("bootstrap"), bob.do("bootstrap"))
        await asyncio.gather(alice.knows(bob), bob.knows(alice))
        await alice.do("scan", other=bob.name, room=room_id)
        await alice.do("trusts_user", user=bob.user_id)
        await bob.do("trusts_user", user=alice.user_id)
        laptop = await bob.another_device()
        await asyncio.gather(bob.knows(laptop), laptop.knows(bob))
        await laptop.do("scan", other=bob.name)
        await laptop.do("has_secrets")
        await alice.do("trusts", user=bob.user_id, other=laptop.device_id)

    async def test_codes_are_scanned_without_a_room(self, pair: Pair, agent: Agent):
        alice, bob, _ = await met(pair, agent)
        await asyncio.gather(alice.do("bootstrap"), bob.do("bootstrap"))
        await asyncio.gather(alice.knows(bob), bob.knows(alice))
        await bob.do("scan", other=alice.name)
        await bob.do("trusts_user", user=alice.user_id)
        await alice.do("trusts_user", user=bob.user_id)
