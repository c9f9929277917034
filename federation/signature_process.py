"""Has signatures verified by another process: theirs is the one work of a large join that can be done beside ours.

PyNaCl lets other threads run while it verifies a signature, which is for some 55 µs. Yet a thread that goes from one to
the next needs Python's lock each time, and waits for it up to 5 ms while this process reads events. Another process
never waits. It starts in some 25 ms, takes 12 MB, and ends with the work that it was started for.
"""

import asyncio
import base64
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from struct import pack
from subprocess import DEVNULL, PIPE, Popen
from threading import Lock

from attrs import define, field

_PROGRAM = Path(__file__).with_name("signature_program.py")
_KEY = 32
_SIGNATURE = 64
PATIENCE = 20.0  # seconds for an order, which takes a twentieth of one: so long only where something is wrong


class Lost(Exception):
    """The process has ended, does not answer, or could not be started."""


# What was signed, the signature in unpadded base64 as somebody told it, and the public key that it is said to be by.
Claim = tuple[bytes, str, bytes]


@define(eq=False)
class SignatureProcess:
    """The process. Two may ask at a time: while it works for one, the order of the other is on its way."""

    _started: "asyncio.Task[Popen[bytes]]"
    _writing: Lock = field(factory=Lock, init=False)
    _reading: Lock = field(factory=Lock, init=False)

    async def holding(self, claims: Sequence[Claim]) -> list[Claim]:
        """Those of the claims that are true. Raises Lost."""
        asked = [(claim, signature) for claim in claims if (signature := _decoded(claim[1]))]
        if not asked:
            return []
        try:
            async with asyncio.timeout(PATIENCE):
                process = await asyncio.shield(self._started)
                answer = await asyncio.to_thread(self._asked, process, _order(asked), len(asked))
        except (OSError, ValueError) as cause:  # too late is an OSError, too
            raise Lost from cause
        if len(answer) != len(asked) or max(answer) > 1:
            raise Lost
        return [claim for (claim, _), holds in zip(asked, answer, strict=True) if holds]

    def _asked(self, process: Popen[bytes], order: bytes, answers: int) -> bytes:
        """Whose order was written first reads first."""
        assert process.stdin is not None
        assert process.stdout is not None
        with self._writing:
            process.stdin.write(order)
            process.stdin.flush()
            self._reading.acquire()
        try:
            return process.stdout.read(answers)
        finally:
            self._reading.release()


def _decoded(text: str) -> bytes:
    """A signature; empty where the text is none."""
    try:
        signature = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return b""
    return signature if len(signature) == _SIGNATURE else b""


def _order(asked: Sequence[tuple[Claim, bytes]]) -> bytes:
    """As the program reads it. In one piece, as thousands of small ones would leave holes in our memory."""
    lengths = [_KEY + _SIGNATURE + len(message) for (message, _, _), _ in asked]
    parts = [pack(f"!{len(asked) + 1}I", len(asked), *lengths)]
    for (message, _, key), signature in asked:
        parts += key, signature, message
    return b"".join(parts)


@asynccontextmanager
async def signature_process() -> AsyncIterator[SignatureProcess]:
    """A process for the block, which need not wait until it has started: a thread starts it, without a fork."""
    started = asyncio.create_task(asyncio.to_thread(_start))
    try:
        yield SignatureProcess(started)
    finally:
        await asyncio.shield(asyncio.create_task(_ended(started)))


def _start() -> Popen[bytes]:
    return Popen([sys.executable, "-I", str(_PROGRAM)], stdin=PIPE, stdout=PIPE, stderr=DEVNULL)  # noqa: S603


async def _ended(started: "asyncio.Task[Popen[bytes]]") -> None:
    try:
        process = await started
    except OSError:
        return  # whoever asked was told
    await asyncio.to_thread(_end, process)


def _end(process: Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        with suppress(OSError):  # what it was still to be told
            pipe.close()
