"""Stories of bots that encrypt: matrix-nio there and matrix-js-sdk here in one room."""

import asyncio
from pathlib import Path

from tests.interop.crypto_agent import Agent, Device
from tests.interop.encrypting_bot import Bot, running_bot
from tests.interop.sites import Pair
from tests.interop.stories.partitions import stopped


class BotStories:
    """Alice lives here and the bot there."""

    async def test_a_person_and_a_bot(self, pair: Pair, agent: Agent, tmp_path: Path):
        async with running_bot(pair.there, tmp_path) as bot:
            alice, tablet, room_id = await met(pair, agent, bot)
            said = [await alice.say(room_id), await tablet.say(room_id), await bot.say(room_id)]
            await asyncio.gather(bot.reads(said[:2]), alice.reads(room_id, said), tablet.reads(room_id, said))

    async def test_the_bot_loses_its_server(self, pair: Pair, agent: Agent, tmp_path: Path):
        async with running_bot(pair.there, tmp_path) as bot:
            alice, tablet, room_id = await met(pair, agent, bot)
            said = [await alice.say(room_id, "before")]
            await bot.reads(said)
            answering = asyncio.create_task(answers(bot, room_id))
            async with stopped(pair.there, kill=True):
                speaking = asyncio.create_task(speech(alice, room_id))
                await asyncio.wait([speaking], timeout=2)
            await agent.online(pair.there)
            said += await speaking
            # Synapse may ask its server again only after a pause, which ends when that one speaks.
            answered = [*await answering, await bot.say(room_id, "after")]
            await bot.reads(said)
            said += answered
            await asyncio.gather(alice.reads(room_id, said), tablet.reads(room_id, said))


async def met(pair: Pair, agent: Agent, bot: Bot) -> tuple[Device, Device, str]:
    """Two devices of Alice, and the room in which she and the bot are."""
    alice = await agent.register(pair.here, "alice")
    tablet = await alice.another_device()
    room_id = await alice.do("create", invite=[bot.user_id], options={})
    await bot.join(room_id)
    bots = {"user": bot.user_id, "other": bot.client.device_id}
    for device in (alice, tablet):
        await device.enters(room_id)
        await device.sees_member(room_id, bot.user_id, "join")
        await device.do("knows", **bots)
        await bot.knows(device)
    await asyncio.gather(alice.knows(tablet), tablet.knows(alice))
    return alice, tablet, room_id


async def answers(bot: Bot, room_id: str) -> list[str]:
    return [await bot.say(room_id, f"answer {number}") for number in range(10)]


async def speech(device: Device, room_id: str) -> list[str]:
    """Ten messages, two with each key."""
    said = []
    for number in range(10):
        if number % 2 == 0:
            await device.do("discard", room=room_id)
        said.append(await device.say(room_id, f"number {number}"))
    return said
