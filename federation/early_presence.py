"""Presence of people we share no room with yet: their server knows of our join before we have taken the room up.

They are remembered for a moment, and taken when one of ours has entered a room.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from attrs import define, field

from homeserver.services.background import Background
from homeserver.services.now import Clock, now_ms
from homeserver.services.presence import Presences, Told
from storage.committer import Committed
from storage.room_batches import MEMBERSHIPS

MOST = 1_000
HOLDS = 60_000  # milliseconds
LONGEST_STATUS = 1_000  # letters; who says more is told of when it changes

_JOIN = MEMBERSHIPS["join"]


@define(eq=False)
class EarlyPresence:
    """Takes the presence of other servers' users."""

    presences: Presences
    background: Background
    clock: Clock = now_ms
    _strangers: OrderedDict[str, tuple[int, Told]] = field(factory=OrderedDict)

    async def take(self, told: Mapping[str, Told]) -> None:
        """What other servers say of their users."""
        now = self.clock()
        for user_id in await self.presences.take(told):
            one = told[user_id]
            if len(one.status_msg or "") <= LONGEST_STATUS:
                self._strangers.pop(user_id, None)
                self._strangers[user_id] = now, one
        while len(self._strangers) > MOST:
            self._strangers.popitem(last=False)

    def heard(self, position: int, commits: Sequence[Committed]) -> None:
        """One of ours may share a room with them now."""
        if self._strangers and any(_enters(commit) for commit in commits):
            self.background.start(self._again())

    async def _again(self) -> None:
        since = self.clock() - HOLDS
        recent = {user_id: told for user_id, (ts, told) in self._strangers.items() if ts >= since}
        left = await self.presences.take(recent) if recent else frozenset()
        for user_id, (ts, told) in list(self._strangers.items()):
            taken = user_id not in left and told is recent.get(user_id)
            if taken or ts < since:
                del self._strangers[user_id]


def _enters(commit: Committed) -> bool:
    return commit.batch is not None and any(one.membership == _JOIN for one in commit.batch.memberships)
