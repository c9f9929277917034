"""The content of member events: the membership, and who the member says to be."""

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen

from homeserver.core.membership import INVITE, JOIN, KNOCK
from storage.database import Database
from storage.member_profiles import member_profiles

_WITH_PROFILE = (JOIN, INVITE, KNOCK)


@frozen(kw_only=True)
class Move:
    """A change of `target`'s membership that `sender` makes. `extra` is further content, which wins over profiles."""

    room_id: str
    sender: str
    target: str
    membership: str
    reason: str | None = None
    extra: Mapping[str, Any] = field(factory=dict)
    ts: int | None = None  # when it was, in milliseconds; None: now


@frozen
class MemberContents:
    """Adds the profiles of our own users [cs "m.room.member"]."""

    database: Database

    async def of(self, move: Move) -> dict[str, Any]:
        """The content of the event that makes the move."""
        known = await self.profiles([move.target]) if move.membership in _WITH_PROFILE else {}
        content = {**known.get(move.target, {}), **move.extra, "membership": move.membership}
        if move.reason is not None:
            content["reason"] = move.reason
        return content

    async def profiles(self, user_ids: Iterable[str]) -> dict[str, dict[str, str]]:
        """What members show of themselves, for several users at once."""
        async with self.database.read() as conn:
            return await member_profiles(conn, user_ids)
