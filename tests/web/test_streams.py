"""Streams of known length: who reads as fast as we write does not keep the others waiting."""

import asyncio
from types import SimpleNamespace

from aiohttp import HttpVersion11

from homeserver.web.answer import PIECES_A_TURN, Answer
from homeserver.web.reply import Reply


class Reader:
    """The transport of a client that takes everything at once."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def writelines(self, pieces) -> None:
        self.taken += pieces

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False


async def test_others_get_their_turn_while_a_large_file_goes_out():
    turns, seen = [0], []

    async def others():
        while True:
            turns[0] += 1
            await asyncio.sleep(0)

    async def pieces():
        for _ in range(3 * PIECES_A_TURN):
            seen.append(turns[0])
            yield b"x"

    reader = Reader()
    request = SimpleNamespace(
        keep_alive=True,
        method="GET",
        version=HttpVersion11,
        transport=reader,
        writer=SimpleNamespace(output_size=0),
    )
    busy = asyncio.create_task(others())
    await asyncio.sleep(0)
    await Answer(Reply(200, pieces(), {"Content-Length": "48"}), "id", write_timeout=1).prepare(request)
    busy.cancel()
    assert len(set(seen)) == 3
    assert b"".join(reader.taken).endswith(b"\r\n\r\n" + b"x" * 48)
