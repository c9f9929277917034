"""Policy lists that the operator has chosen are heeded: whom they ban invites none of our users, what they ban nobody
of ours enters [cs "Moderation policy lists"].

The lists are rooms that somebody of ours is in. Their rules are read again when the state of one of them has moved.
"""

import asyncio
from collections.abc import Mapping, Sequence

from attrs import define, field

from homeserver.core.errors import forbidden
from homeserver.core.policy_lists import TYPES, PolicyRules, policy_rules
from homeserver.services.identity import Identity
from storage import policy_rules as tables
from storage.database import Database
from storage.events import EventReader


@define(eq=False)
class PolicyLists:
    """What the lists in `room_ids` say."""

    database: Database
    reader: EventReader
    identity: Identity
    room_ids: Sequence[str] = ()
    _rules: PolicyRules = field(factory=PolicyRules, init=False)
    _lengths: Mapping[int, int] = field(factory=dict, init=False)

    async def refuse_inviter(self, user_id: str, room_id: str) -> None:
        """M_FORBIDDEN where the lists ban the user, their server, or the room."""
        rules = await self._current()
        if rules.bans_user(user_id, ours=self.identity.is_ours(user_id)):
            raise forbidden("This server takes no invites from this user")
        if room_id in rules.rooms:
            raise forbidden("This server takes no invites to this room")

    async def bans_room(self, room_id: str) -> bool:
        """Do the lists ban the room?"""
        return room_id in (await self._current()).rooms

    async def banned_among(self, user_ids: Sequence[str]) -> set[str]:
        """Those of them whom the lists ban."""
        rules, identity = await self._current(), self.identity
        return await asyncio.to_thread(
            lambda: {each for each in user_ids if rules.bans_user(each, ours=identity.is_ours(each))}
        )

    async def _current(self) -> PolicyRules:
        if not self.room_ids:
            return self._rules
        async with self.database.read() as conn:
            lengths = await tables.lengths(conn, self.room_ids)
            if lengths != self._lengths:
                found = await tables.rules(conn, self.reader, list(lengths), TYPES)
                self._rules = await asyncio.to_thread(policy_rules, [stored.event for stored in found])
                self._lengths = lengths
        return self._rules
