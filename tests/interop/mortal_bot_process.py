"""A bot of matrix-nio in a process of its own, which dies at once where it is told to: nothing can be finished.

Its keys are in nio's database, its place in the server's syncs beside it, noted when all of an answer is handled. One
JSON object a line comes in, {command, …}, and one goes out. What each sync brought stands in syncs.jsonl.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import nio
import orjson
from attrs import define, field

from tests.kit.server import PASSWORD

POLL_MS = 1000
RECEIVED, HANDLED = "received", "handled"  # where it may die


class MortalClient(nio.AsyncClient):
    """Dies before it handles an answer, if that is its fate."""

    fate: str | None = None

    async def receive_response(self, response: nio.Response) -> None:
        if isinstance(response, nio.SyncResponse) and response.to_device_events:
            self.die_if(RECEIVED)
        await super().receive_response(response)

    def die_if(self, fate: str) -> None:
        if self.fate == fate:
            os.kill(os.getpid(), signal.SIGKILL)


@define(eq=False)
class MortalBot:
    """What it knows is in the folder."""

    client: MortalClient
    folder: Path
    synced: asyncio.Event = field(factory=asyncio.Event)

    @property
    def token(self) -> str | None:
        place = self.folder / "token"
        return place.read_text() if place.exists() else None

    async def follow(self) -> None:
        while True:
            if self.client.should_upload_keys:
                _good(await self.client.keys_upload(), nio.KeysUploadResponse)
            if self.client.should_query_keys:
                await self.client.keys_query()
            await self._sync()
            self.synced.set()

    async def _sync(self) -> None:
        since = self.token
        answer = await self.client.sync(POLL_MS if since else 0, since=since)
        _good(answer, nio.SyncResponse)
        letters = [
            event.source["content"]["n"]
            for event in answer.to_device_events
            if isinstance(event, nio.UnknownToDeviceEvent) and event.type == "com.example.letter"
        ]
        with (self.folder / "syncs.jsonl").open("ab") as log:
            log.write(orjson.dumps({"since": since, "letters": letters}) + b"\n")
        if answer.to_device_events:
            self.client.die_if(HANDLED)
        (self.folder / "token.new").write_text(answer.next_batch)
        (self.folder / "token.new").rename(self.folder / "token")

    # What it may be told to do

    async def join(self, room: str) -> None:
        while room not in self.client.invited_rooms:
            await self._next_sync()
        _good(await self.client.join(room), nio.JoinResponse)
        while room not in self.client.rooms or not self.client.rooms[room].encrypted:
            await self._next_sync()

    async def die(self, at: str) -> None:
        self.client.fate = at

    async def read(self, room: str, events: list[str]) -> None:
        """Wait until it has all of these events and can decrypt them."""
        while not await self._readable(room) >= set(events):
            await self._next_sync()

    async def letters(self, count: int) -> list[int]:
        """Wait for so many; gives the letters as they were told, an answer that was asked for twice once."""
        while len(told := self._told()) < count:
            await self._next_sync()
        return told

    async def _next_sync(self) -> None:
        self.synced.clear()
        await self.synced.wait()

    async def _readable(self, room: str) -> set[str]:
        """The messages of the room's history for which it has keys now."""
        found: set[str] = set()
        start = self.token
        while start:
            page = await self.client.room_messages(room, start, limit=100)
            _good(page, nio.RoomMessagesResponse)
            found |= {event.event_id for event in page.chunk if event.decrypted}
            start = page.end if page.chunk else None
        return found

    def _told(self) -> list[int]:
        lines = [orjson.loads(line) for line in (self.folder / "syncs.jsonl").read_bytes().splitlines()]
        by_token = {line["since"]: line["letters"] for line in lines}
        return [number for letters in by_token.values() for number in letters]


def _good(answer: Any, kind: type) -> None:
    assert isinstance(answer, kind), answer


async def entered(url: str, username: str, folder: Path) -> MortalClient:
    """Registers at its first start, and remembers who it is."""
    config = nio.AsyncClientConfig(encryption_enabled=True)
    client = MortalClient(url, username, store_path=str(folder), config=config)
    place = folder / "session.json"
    if place.exists():
        said = orjson.loads(place.read_bytes())
        client.restore_login(said["user_id"], said["device_id"], said["access_token"])
        return client
    answer = await client.register(username, PASSWORD, "bot")
    _good(answer, nio.RegisterResponse)
    place.write_bytes(
        orjson.dumps(
            {"user_id": answer.user_id, "device_id": answer.device_id, "access_token": answer.access_token}
        )
    )
    return client


async def main(url: str, username: str, folder: Path) -> None:
    client = await entered(url, username, folder)
    bot = MortalBot(client, folder)
    following = asyncio.create_task(bot.follow())
    following.add_done_callback(
        lambda task: os._exit(1) if not task.cancelled() and task.exception() else None
    )
    await bot.synced.wait()
    tell({"user_id": client.user_id, "device_id": client.device_id})
    while line := await asyncio.to_thread(sys.stdin.buffer.readline):
        asked = orjson.loads(line)
        try:
            tell({"told": await getattr(bot, asked.pop("command"))(**asked)})
        except (AssertionError, TimeoutError, OSError) as fault:
            tell({"error": repr(fault)})
    following.cancel()
    await client.close()


def tell(what: Any) -> None:
    sys.stdout.buffer.write(orjson.dumps(what) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
