"""A real mail server beside the tests, and the mails that came to it."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_string
from email.message import Message

from attrs import define, field

PATIENCE = 30.0  # seconds
_LINK = re.compile(r"https?://\S+")


@define(eq=False)
class Mail:
    to: str
    message: Message

    @property
    def text(self) -> str:
        payload = self.message.get_payload(decode=True)
        assert isinstance(payload, bytes)
        return payload.decode()

    @property
    def link(self) -> str:
        found = _LINK.search(self.text)
        assert found is not None, self.text
        return found.group()


@define(eq=False)
class Mailbox:
    """Where the mail server listens, and what comes."""

    port: int
    process: asyncio.subprocess.Process
    mails: list[Mail] = field(factory=list)

    async def next(self) -> Mail:
        """The next mail that nobody has looked at."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            told = json.loads(await self.process.stdout.readline())
        mail = Mail(told["to"], message_from_string(told["text"]))
        self.mails.append(mail)
        return mail


@asynccontextmanager
async def running_mailbox() -> AsyncIterator[Mailbox]:
    """Start the mail server, and end it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.kit.mailbox_process", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            port = json.loads(await process.stdout.readline())["port"]
        yield Mailbox(port, process)
    finally:
        process.terminate()
        await process.wait()
