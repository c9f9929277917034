"""The life of those who act on what was committed: one turn after the other, whatever a turn runs into."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn, Protocol

import structlog

from storage.database import Unavailable

log = structlog.get_logger(__name__)

AFTER_A_FAULT = 2.0  # seconds


class Heard(Protocol):
    """What was committed since the last turn."""

    @property
    def position(self) -> int: ...

    def look_everywhere(self, position: int) -> None:
        """All up to `position` may be new."""


async def take_turns(turn: Callable[[], Awaitable[None]], heard: Heard, who: str) -> NoReturn:
    """Until cancelled. After a fault all is read again that may not have been acted on."""
    while True:
        try:
            await turn()
        except (Unavailable, TimeoutError) as cause:
            log.warning("work waits", of=who, cause=repr(cause))
        except Exception:  # what is for all must not end with one defect
            log.exception("work waits", of=who)
        else:
            continue
        heard.look_everywhere(heard.position)
        await asyncio.sleep(AFTER_A_FAULT)
