"""Stories of a client that is killed in the middle, alone or with its server: what is stored on both sides suffices."""

import asyncio
from pathlib import Path

import pytest

from tests.interop.crypto_agent import Agent, Device
from tests.interop.follower import Follower
from tests.interop.mortal_bot import MortalBot, mortal_bot
from tests.interop.mortal_bot_process import HANDLED, RECEIVED
from tests.interop.sites import Pair
from tests.interop.stories.partitions import stopped

CLAIMED = 4  # keys that a stranger takes before and after each death


class KilledClientStories:
    """Alice lives here and the bot there."""

    @pytest.mark.parametrize("server_too", [False, True], ids=["alone", "with_its_server"])
    async def test_a_client_is_killed(self, pair: Pair, agent: Agent, tmp_path: Path, server_too: bool):
        """It dies before it has stored anything of an answer, and before it has noted that it has handled one."""
        async with mortal_bot(pair.there, tmp_path) as bot:
            alice, tablet, room_id = await met(pair, agent, bot)
            stranger = Stranger(await pair.here.user("stranger"), bot)
            said = [await alice.say(room_id, "before")]
            await bot.reads(room_id, said)
            for fate in (RECEIVED, HANDLED):
                await stranger.claims()
                await bot.do("die", at=fate)
                speaking = asyncio.gather(
                    speech(alice, room_id), speech(tablet, room_id), stranger.writes(10)
                )
                await bot.dead()
                if server_too:
                    async with stopped(pair.there, kill=True):
                        await asyncio.wait([speaking], timeout=1)
                    await agent.online(pair.there)
                for spoken in (await speaking)[:2]:
                    said += spoken
                await stranger.writes(5)  # which also tells Alice's server that the other one is back
                await bot.start()
                said += [await alice.say(room_id, "back?"), await tablet.say(room_id, "back?")]
                await bot.reads(room_id, said)
            await stranger.claims()
            assert len(set(stranger.claimed)) == 3 * CLAIMED
            await stranger.is_read()


class Stranger:
    """Writes numbered letters to the bot, and claims its keys."""

    def __init__(self, user: Follower, bot: MortalBot) -> None:
        self.user, self.bot = user, bot
        self.sent = 0
        self.claimed: list[str] = []

    async def writes(self, count: int) -> None:
        for _ in range(count):
            body = {"messages": {self.bot.user_id: {self.bot.device_id: {"n": self.sent}}}}
            await persistently(self.user, f"/v3/sendToDevice/com.example.letter/letter{self.sent}", body)
            self.sent += 1

    async def claims(self) -> None:
        for _ in range(CLAIMED):
            wanted = {self.bot.user_id: {self.bot.device_id: "signed_curve25519"}}
            said = await self.user.client.post("/v3/keys/claim", {"one_time_keys": wanted})
            self.claimed += said["one_time_keys"][self.bot.user_id][self.bot.device_id]

    async def is_read(self) -> None:
        """Each letter came once, in order."""
        assert await self.bot.do("letters", count=self.sent) == list(range(self.sent))


async def persistently(user: Follower, path: str, body: dict) -> None:
    """As clients do: again, under the same transaction id, until the server is there."""
    async with asyncio.timeout(60):
        while True:
            try:
                await user.client.put(path, body)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                return


async def met(pair: Pair, agent: Agent, bot: MortalBot) -> tuple[Device, Device, str]:
    """Two devices of Alice, and the room in which she and the bot are."""
    alice = await agent.register(pair.here, "alice")
    tablet = await alice.another_device()
    room_id = await alice.do("create", invite=[bot.user_id], options={})
    await bot.do("join", room=room_id)
    for device in (alice, tablet):
        await device.enters(room_id)
        await device.sees_member(room_id, bot.user_id, "join")
        await device.do("knows", user=bot.user_id, other=bot.device_id)
    await asyncio.gather(alice.knows(tablet), tablet.knows(alice))
    return alice, tablet, room_id


async def speech(device: Device, room_id: str) -> list[str]:
    """Ten messages, each with a key of its own."""
    said = []
    for number in range(10):
        await device.do("discard", room=room_id)
        said.append(await device.say(room_id, f"{device.name} {number}"))
    return said
