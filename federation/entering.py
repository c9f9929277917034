"""Rooms that are being entered right now: one of our users at a time, and what arrives for them meanwhile waits.

The room's other servers speak to us as soon as the resident server has taken our join, which is before we have taken
its answer. What they send would be refused, and nobody would send it again.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from attrs import define, field

PATIENCE = 45.0  # seconds: less than servers wait for the answer to a transaction


@define(eq=False)
class _Door:
    """A room's turn, and how many want it."""

    turn: asyncio.Lock = field(factory=asyncio.Lock)
    waiting: int = 0


@define(eq=False)
class Entering:
    """In this process: another one refuses, and finds the gap when the room next speaks."""

    patience: float = PATIENCE
    _doors: dict[str, _Door] = field(factory=dict)

    @asynccontextmanager
    async def turn(self, room_id: str) -> AsyncIterator[None]:
        """Nobody else enters the room within the block."""
        door = self._doors.setdefault(room_id, _Door())
        door.waiting += 1
        try:
            async with door.turn:
                yield
        finally:
            door.waiting -= 1
            if not door.waiting:
                del self._doors[room_id]

    async def settled(self, room_ids: Collection[str]) -> None:
        """Wait until nobody is on the way into any of the rooms, or for as long as patience lasts."""
        doors = [self._doors[room_id] for room_id in room_ids if room_id in self._doors]
        if not doors:
            return
        try:
            async with asyncio.timeout(self.patience):
                for door in doors:
                    async with door.turn:
                        pass
        except TimeoutError:
            return
