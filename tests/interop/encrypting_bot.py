"""A device of matrix-nio that encrypts, as bots do: its keys in a folder, syncing all the time."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import nio
from attrs import define, field

from tests.interop.crypto_agent import Device
from tests.interop.sites import Site
from tests.kit.server import PASSWORD

PATIENCE = 40.0
_POLL_MS = 5000
_FILTER = {"room": {"timeline": {"limit": 100}}}  # it fills no gaps
_names = itertools.count(1)


@define(eq=False)
class Bot:
    """What it was told, and what it does."""

    client: nio.AsyncClient
    read: dict[str, str] = field(factory=dict)  # decrypted messages by event id
    unreadable: set[str] = field(factory=set)

    @property
    def user_id(self) -> str:
        return self.client.user_id

    def take(self, _: nio.MatrixRoom, event: nio.Event) -> None:
        """Called for each message."""
        if isinstance(event, nio.RoomMessageText) and event.decrypted:
            self.read[event.event_id] = event.body
        elif isinstance(event, nio.MegolmEvent):
            self.unreadable.add(event.event_id)

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        """Wait for as many syncs as it takes."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():
                    await self.client.synced.wait()
        except TimeoutError:
            raise AssertionError(f"{self.user_id} waited in vain for {what}") from None

    async def join(self, room_id: str) -> None:
        """Follow an invitation into an encrypted room."""
        await self.until(lambda: room_id in self.client.invited_rooms, "an invitation")
        answer = await self.client.join(room_id)
        assert isinstance(answer, nio.JoinResponse), answer
        await self.until(lambda: room_id in self.client.rooms, "the room")
        assert self.client.rooms[room_id].encrypted

    async def knows(self, other: Device) -> None:
        """Wait until it has the keys of that device."""
        known = self.client.device_store
        await self.until(
            lambda: other.user_id in known.users and other.device_id in known[other.user_id], other.name
        )

    async def say(self, room_id: str, body: str = "hello") -> str:
        content = {"msgtype": "m.text", "body": body}
        answer = await self.client.room_send(
            room_id, "m.room.message", content, ignore_unverified_devices=True
        )
        assert isinstance(answer, nio.RoomSendResponse), answer
        return answer.event_id

    async def reads(self, events: list[str]) -> None:
        """Wait until all of them are here; none may be unreadable."""
        await self.until(lambda: self.read.keys() | self.unreadable >= set(events), "messages")
        assert not self.unreadable & set(events)


@asynccontextmanager
async def running_bot(site: Site, folder: Path) -> AsyncIterator[Bot]:
    config = nio.AsyncClientConfig(encryption_enabled=True)
    client = nio.AsyncClient(
        site.process.url, f"bot{next(_names)}-nio", store_path=str(folder), config=config
    )
    bot = Bot(client)
    client.add_event_callback(bot.take, (nio.RoomMessageText, nio.MegolmEvent))
    answer = await client.register(client.user, PASSWORD, "bot")
    assert isinstance(answer, nio.RegisterResponse), answer
    syncing = asyncio.create_task(client.sync_forever(_POLL_MS, sync_filter=_FILTER))
    try:
        yield bot
    finally:
        syncing.cancel()
        with suppress(asyncio.CancelledError):
            await syncing
        await client.close()
