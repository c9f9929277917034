"""The attacked server, with a user on it who watches."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from attrs import define, field

from tests.adversary.adversary import Adversary
from tests.interop.follower import Follower
from tests.interop.sites import Site
from tests.kit.server import segment

LONGEST_ANSWER = 2.0
PULSE = 0.05
FEDERATION = "/_matrix/federation"


@define(eq=False)
class Victim:
    """Alice is in `room_id`, which is hers; mallory, of the adversary, is in it too."""

    site: Site
    alice: Follower
    room_id: str
    adversary: Adversary
    slowest: float = 0.0
    state: dict[Any, str] = field(factory=dict)

    @property
    def name(self) -> str:
        return self.site.name

    @property
    def mallory(self) -> str:
        return self.adversary.user("mallory")

    async def make(self, kind: str = "m.room.message", content: Any = None, **more: Any) -> Any:
        """An event of mallory's; gives {"event_id", "pdu"}."""
        content = {"msgtype": "m.text", "body": "evil"} if content is None else content
        given = {"sender": self.mallory, "room_id": self.room_id, **more}
        return await self.adversary.do("make", kind=kind, content=content, **given)

    async def send(self, *pdus: Any, status: int = 200, **more: Any) -> dict[str, Any]:
        """A transaction, which must be answered so; gives what is said of each PDU."""
        said = await self.adversary.do("send", to=self.name, pdus=list(pdus), **more)
        assert said["status"] == status, said
        return (said["json"] or {}).get("pdus", {})

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, str | None]:
        """A signed request; gives status and errcode."""
        said = await self.adversary.do("request", method=method, to=self.name, path=path, **more)
        return said["status"], (said["json"] or {}).get("errcode")

    async def event(self, event_id: str) -> Any:
        """The event as alice reads it; None if she does not."""
        path = f"/v3/rooms/{segment(self.room_id)}/event/{segment(event_id)}"
        answer = await self.alice.client.ask("GET", path)
        return answer.json if answer.status == 200 else None

    async def accepts(self) -> str:
        """Send something lawful behind what was tried, and wait until it is there: everything before it is judged."""
        good = await self.make(content={"msgtype": "m.text", "body": "good"})
        await self.send(good["pdu"])
        await self.alice.sees(self.room_id, good["event_id"])
        return good["event_id"]

    async def refuses(self, made: Any, *, followed: bool = True) -> None:
        """The event is sent, and never to be seen; what is lawful still passes."""
        await self.send(made["pdu"])
        if followed:
            await self.accepts()
        assert await self.event(made["event_id"]) is None
        assert made["event_id"] not in self.alice.view(self.room_id).timeline

    async def remember(self) -> None:
        """The state as it is now is how it must be in the end."""
        self.state = await self.alice.state(self.room_id)

    async def unharmed(self) -> None:
        """Alice still rules the room, and it works."""
        if self.state:
            assert await self.alice.state(self.room_id) == self.state
        event_id = await self.alice.say(self.room_id, "still here")
        await self.alice.sees(self.room_id, event_id)
        assert self.slowest < LONGEST_ANSWER, f"a client waited {self.slowest:.1f} s"

    @asynccontextmanager
    async def awake(self) -> AsyncIterator[None]:
        """While this lasts, a client asks again and again, and the longest wait is noted."""
        over = asyncio.Event()

        async def pulse() -> None:
            while not over.is_set():
                begun = time.monotonic()
                await self.alice.client.get("/v3/account/whoami")
                self.slowest = max(self.slowest, time.monotonic() - begun)
                try:
                    await asyncio.wait_for(over.wait(), PULSE)
                except TimeoutError:
                    continue

        await self.remember()
        task = asyncio.create_task(pulse())
        try:
            yield
        finally:
            over.set()
            await task
