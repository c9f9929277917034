"""Devices of matrix-js-sdk that encrypt, in one node process, as objects of Python.

alice = await agent.register(site, "alice")
tablet = await alice.another_device()
event_id = await alice.say(room_id, "hello")
await tablet.reads(room_id, [event_id])
"""

import asyncio
import itertools
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from attrs import define, field

from tests.interop.node import SCRIPTS
from tests.interop.sites import Site
from tests.kit.server import PASSWORD

PATIENCE = 60.0  # of one command; those that wait for something give up a little earlier, and say for what
_LINE = 16 * 2**20
_names = itertools.count(1)


@define(eq=False)
class Agent:
    """The process, and what it was asked."""

    process: Process
    asked: dict[int, asyncio.Future[Any]] = field(factory=dict)
    devices: list["Device"] = field(factory=list)

    async def do(self, command: str, **given: Any) -> Any:
        """One command, which must succeed; gives what was told."""
        number = next(_names)
        self.asked[number] = asyncio.get_running_loop().create_future()
        assert self.process.stdin is not None
        self.process.stdin.write(orjson.dumps({"id": number, "command": command, **given}) + b"\n")
        try:
            return await asyncio.wait_for(self.asked[number], PATIENCE)
        except TimeoutError:
            raise AssertionError(f"{command} {given} took too long") from None

    async def listen(self) -> None:
        """Hand answers to whoever asked."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            said = orjson.loads(line)
            waiting = self.asked.pop(said["id"])
            if waiting.cancelled():
                continue
            if "error" in said:
                waiting.set_exception(AssertionError(said["error"]))
            else:
                waiting.set_result(said["told"])
        for waiting in self.asked.values():
            waiting.cancel("node has ended")

    async def register(self, site: Site, name: str) -> "Device":
        """A new user with one device, who syncs."""
        return await self._device("register", site, f"{name}{next(_names)}-js")

    async def login(self, site: Site, username: str) -> "Device":
        """A further device of a user."""
        return await self._device("login", site, username)

    async def _device(self, command: str, site: Site, username: str) -> "Device":
        name = f"{username}/{next(_names)}"
        said = await self.do(command, device=name, url=site.process.url, username=username, password=PASSWORD)
        device = Device(self, site, name, said["user_id"], said["device_id"])
        self.devices.append(device)
        return device

    async def online(self, site: Site) -> None:
        """Devices of this server need not wait until they look for it again."""
        here = [device for device in self.devices if device.site.name == site.name and device.running]
        await asyncio.gather(*(device.do("online") for device in here))


@define(eq=False)
class Device:
    """A client with keys of its own."""

    agent: Agent
    site: Site
    name: str
    user_id: str
    device_id: str
    running: bool = True

    async def do(self, command: str, **given: Any) -> Any:
        return await self.agent.do(command, device=self.name, **given)

    async def another_device(self) -> "Device":
        """The user logs in elsewhere."""
        return await self.agent.login(self.site, self.user_id.partition(":")[0].removeprefix("@"))

    async def stop(self) -> None:
        """The device is switched off; it keeps what it has stored."""
        self.running = False
        await self.do("stop")

    async def start(self) -> None:
        await self.do("start")
        self.running = True

    async def logout(self) -> None:
        self.running = False
        await self.do("logout")

    async def create(self, *guests: "Device", **options: Any) -> str:
        """An encrypted room, in which the guests are then."""
        invited = list(dict.fromkeys(guest.user_id for guest in guests))
        room_id: str = await self.do("create", invite=invited, options=options)
        for guest in guests:
            await guest.join(room_id)
            await self.sees_member(room_id, guest.user_id, "join")
        return room_id

    async def join(self, room_id: str) -> None:
        """Follow an invitation."""
        await self.do("join", room=room_id)

    async def enters(self, room_id: str) -> None:
        """Wait until the room, into which another device went, is here too."""
        await self.do("encrypts", room=room_id)

    async def invite(self, room_id: str, user_id: str) -> None:
        await self.do("invite", room=room_id, user=user_id)

    async def leave(self, room_id: str) -> None:
        await self.do("leave", room=room_id)

    async def sees_member(self, room_id: str, user_id: str, membership: str) -> None:
        await self.do("sees_member", room=room_id, user=user_id, membership=membership)

    async def knows(self, other: "Device") -> None:
        """Wait until this client has heard of that device: only then are messages meant for it."""
        await self.do("knows", user=other.user_id, other=other.device_id)

    async def say(self, room_id: str, body: str = "hello") -> str:
        """An encrypted message; gives its id."""
        return await self.do("say", room=room_id, body=body)

    async def reads(self, room_id: str, events: Sequence[str]) -> list[str]:
        """Wait until all of them are here and decrypted; gives what they say."""
        return await self.do("reads", room=room_id, events=list(events))


@asynccontextmanager
async def running_agent(node: Path) -> AsyncIterator[Agent]:
    process = await asyncio.create_subprocess_exec(
        node, SCRIPTS / "crypto_agent.mjs", stdin=PIPE, stdout=PIPE, limit=_LINE
    )
    agent = Agent(process)
    listening = asyncio.create_task(agent.listen())
    try:
        yield agent
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
        await listening
