"""Stories of people whose clients encrypt: whoever was meant to read a message reads it."""

import asyncio

from tests.interop.crypto_agent import Agent, Device
from tests.interop.sites import Pair, Site
from tests.interop.stories.partitions import stopped

AWAY = 60  # sessions that a device misses


class EncryptionStories:
    """Alice lives here and Bob there."""

    async def test_four_devices_read_each_other(self, pair: Pair, agent: Agent):
        alice, bob, room_id = await met(pair, agent)
        tablet, laptop = await asyncio.gather(alice.another_device(), bob.another_device())
        everybody = [alice, tablet, bob, laptop]
        await asyncio.gather(*(device.enters(room_id) for device in everybody))
        await asyncio.gather(*(one.knows(other) for one in everybody for other in everybody))
        said = [await device.say(room_id, f"from {device.name}") for device in everybody]
        for device in everybody:
            assert await device.reads(room_id, said) == [f"from {each.name}" for each in everybody]

    async def test_devices_come_and_go(self, pair: Pair, agent: Agent):
        """Each message is for the devices that there are then."""
        alice, bob, room_id = await met(pair, agent)
        first = await alice.say(room_id)
        await bob.reads(room_id, [first])
        laptop = await bob.another_device()
        await laptop.enters(room_id)
        second = await heard_by(alice, laptop, room_id)
        await bob.reads(room_id, [second])
        assert await laptop.do("unreadable", room=room_id, event=first)
        await laptop.logout()
        third = await alice.say(room_id)
        await bob.reads(room_id, [third])

    async def test_keys_change_when_somebody_leaves(self, pair: Pair, agent: Agent):
        alice, bob, room_id = await met(pair, agent)
        carol = await agent.register(pair.there, "carol")
        await alice.invite(room_id, carol.user_id)
        await carol.join(room_id)
        await alice.sees_member(room_id, carol.user_id, "join")
        before = await alice.say(room_id, "with bob")
        await asyncio.gather(bob.reads(room_id, [before]), carol.reads(room_id, [before]))
        await bob.leave(room_id)
        await alice.sees_member(room_id, bob.user_id, "leave")
        after = await alice.say(room_id, "without bob")
        await carol.reads(room_id, [before, after])
        sessions = [await alice.do("session_of", room=room_id, event=event) for event in (before, after)]
        assert len(set(sessions)) == 2
        await alice.invite(room_id, bob.user_id)
        await carol.sees_member(
            room_id, bob.user_id, "invite"
        )  # Synapse lets nobody in before the room has that
        await bob.join(room_id)
        await alice.sees_member(room_id, bob.user_id, "join")
        again = await alice.say(room_id, "with bob again")
        await bob.reads(room_id, [again])
        assert await bob.do("unreadable", room=room_id, event=after)

    async def test_a_device_was_switched_off(self, pair: Pair, agent: Agent):
        """Many keys wait for it: more than one sync tells at once."""
        alice, bob, room_id = await met(pair, agent)
        laptop = await bob.another_device()
        await laptop.enters(room_id)
        first = await heard_by(alice, laptop, room_id)
        await laptop.stop()
        said = [first]
        for number in range(AWAY):
            await alice.do("discard", room=room_id)
            said.append(await alice.say(room_id, f"number {number}"))
            await bob.do("discard", room=room_id)
            said.append(await bob.say(room_id, f"answer {number}"))
        await laptop.start()
        await asyncio.gather(laptop.reads(room_id, said), alice.reads(room_id, said))

    async def test_attachments(self, pair: Pair, agent: Agent):
        alice, bob, room_id = await met(pair, agent)
        text = "all that is in the file\n" * 10_000
        sent = await alice.do("attach", room=room_id, text=text)
        assert await bob.do("opens", room=room_id, event=sent) == text
        back = await bob.do("attach", room=room_id, text="got it")
        assert await alice.do("opens", room=room_id, event=back) == "got it"

    async def test_people_and_devices_are_verified(self, pair: Pair, agent: Agent):
        """Who has compared emoji with one device trusts those that it signs, on whichever server they are."""
        alice, bob, room_id = await met(pair, agent)
        await asyncio.gather(alice.do("bootstrap"), bob.do("bootstrap"))
        assert await alice.do("verify", other=bob.name, room=room_id)
        await alice.do("trusts_user", user=bob.user_id)
        await bob.do("trusts_user", user=alice.user_id)
        laptop = await bob.another_device()
        assert await laptop.do("verify", other=bob.name)
        await laptop.do("has_secrets")
        await alice.do("trusts", user=bob.user_id, other=laptop.device_id)
        await laptop.do("trusts", user=alice.user_id, other=alice.device_id)
        await laptop.enters(room_id)
        said = await heard_by(alice, laptop, room_id)
        await bob.reads(room_id, [said])

    async def test_devices_compare_without_a_room(self, pair: Pair, agent: Agent):
        alice, bob, _ = await met(pair, agent)
        await asyncio.gather(alice.do("bootstrap"), bob.do("bootstrap"))
        assert await bob.do("verify", other=alice.name)
        await bob.do("trusts", user=alice.user_id, other=alice.device_id)

    async def test_a_new_device_restores_the_backup(self, pair: Pair, agent: Agent):
        """All devices are lost; the recovery key is not."""
        alice, bob, room_id = await met(pair, agent)
        recovery_key = await bob.do("bootstrap")
        said = []
        for number in range(5):
            await alice.do("discard", room=room_id)
            said.append(await alice.say(room_id, f"number {number}"))
        said.append(await bob.say(room_id, "answer"))
        await bob.reads(room_id, said)
        await bob.do("backed_up", sessions=len(said))
        await bob.logout()
        laptop = await bob.another_device()
        await laptop.enters(room_id)
        assert await laptop.do("unreadable", room=room_id, event=said[0])
        assert await laptop.do("recover", recoveryKey=recovery_key) >= len(said)
        await laptop.reads(room_id, said)
        await laptop.reads(room_id, [await heard_by(alice, laptop, room_id)])

    async def test_there_is_killed_in_the_midst(self, pair: Pair, agent: Agent):
        await killed_in_the_midst(pair, agent, pair.there)

    async def test_here_is_killed_in_the_midst(self, pair: Pair, agent: Agent):
        await killed_in_the_midst(pair, agent, pair.here)


async def met(pair: Pair, agent: Agent) -> tuple[Device, Device, str]:
    """Alice here and Bob there in an encrypted room, each with a device."""
    alice, bob = await asyncio.gather(agent.register(pair.here, "alice"), agent.register(pair.there, "bob"))
    return alice, bob, await alice.create(bob)


async def heard_by(speaker: Device, listener: Device, room_id: str) -> str:
    """A message that a device reads which the speaker's client may not yet have heard of."""
    await speaker.knows(listener)
    said = await speaker.say(room_id)
    await listener.reads(room_id, [said])
    return said


async def killed_in_the_midst(pair: Pair, agent: Agent, victim: Site) -> None:
    """Both speak, with new keys each time, while a server is killed, is away, and comes back."""
    alice, bob, room_id = await met(pair, agent)
    laptop = await bob.another_device()
    await laptop.enters(room_id)
    first = await heard_by(alice, laptop, room_id)
    speaking = [asyncio.create_task(speech(device, room_id)) for device in (alice, bob)]
    await heard(alice, room_id, speaking)
    async with stopped(victim, kill=True):
        await asyncio.wait(speaking, timeout=2)
    await agent.online(victim)
    said = [first, *(event for talk in await asyncio.gather(*speaking) for event in talk)]
    last = [await alice.say(room_id, "awake?"), await bob.say(room_id, "awake")]
    for device in (alice, bob, laptop):
        await device.reads(room_id, [*said, *last])


async def heard(device: Device, room_id: str, speaking: list[asyncio.Task[list[str]]]) -> None:
    """Some of the messages are there, and not yet all."""
    said = await device.say(room_id, "I begin")
    await device.reads(room_id, [said])
    assert not all(talk.done() for talk in speaking)


async def speech(device: Device, room_id: str) -> list[str]:
    """Twenty messages, five with each key."""
    said = []
    for number in range(20):
        if number % 5 == 0:
            await device.do("discard", room=room_id)
        said.append(await device.say(room_id, f"{device.name} {number}"))
    return said
