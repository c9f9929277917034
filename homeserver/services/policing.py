"""What the writers of rooms ask about policy servers, which only federation can ask [ss "Policy Servers"]."""

from collections.abc import Sequence
from typing import Protocol

from homeserver.core.event import Event
from homeserver.services.judging import Arrival
from homeserver.services.room_heads import Head


class Policing(Protocol):
    """Does nothing in the rooms, nearly all, that use no policy server."""

    async def countersigned(self, head: Head, event: Event) -> Event:
        """An event of ours with the policy server's signature, or a refusal by MatrixError; under the head's lock."""

    async def judged(self, head: Head, arrivals: Sequence[Arrival]) -> list[Arrival]:
        """Events of others with the verdict of check 7; not under the lock, for it may take a while."""
