"""Whom policy lists ban is banned from rooms where they are already, when the operator says so.

In the name of one account, which must be an administrator's, and with the power that it has in its rooms: whoever looks
at such a room sees who did it.
"""

from collections.abc import Sequence
from time import monotonic

from attrs import define, field, frozen

from homeserver.core.errors import MatrixError, forbidden
from homeserver.core.membership import BAN
from homeserver.services.member_content import Move
from homeserver.services.membership import Memberships
from homeserver.services.policy_lists import PolicyLists
from storage import policy_rules as tables
from storage.accounts import Account, find_account
from storage.database import Database
from storage.policy_rules import Seat

MOST = 100  # bans at once
SECONDS = 15.0  # after that, no further one is begun
REASON = "Banned by a policy list that this server heeds"
_PAGE = 2_000


@define
class Enforced:
    """Who was put out, who could not be and why, and after whom to go on if there is more."""

    banned: list[Seat] = field(factory=list)
    refused: list[tuple[Seat, str]] = field(factory=list)
    next: Seat | None = None


@frozen
class PolicyEnforcement:
    """Finds those whom the lists ban, and bans them."""

    database: Database
    policies: PolicyLists
    memberships: Memberships

    async def moderator(self, user_id: str) -> Account:
        """The account that acts. Raises M_FORBIDDEN."""
        async with self.database.read() as conn:
            account = await find_account(conn, (user_id,))
        if account is None or not account.admin or account.deactivated or account.locked:
            raise forbidden("This is done only in the name of an administrator of this server")
        return account

    async def found(self, moderator: Account) -> list[Seat]:
        """Where in the rooms of an account there are users whom the lists ban; by room."""
        banned: list[int] = []
        after = 0
        while people := await self._people(moderator, after):
            after = people[-1][0]
            wanted = await self.policies.banned_among([user_id for _, user_id in people])
            banned += [nid for nid, user_id in people if user_id in wanted and nid != moderator.user_nid]
        if not banned:
            return []
        async with self.database.read() as conn:
            return await tables.seats(conn, moderator.user_nid, banned)

    async def _people(self, moderator: Account, after: int) -> list[tuple[int, str]]:
        async with self.database.read() as conn:
            return await tables.people_around(conn, moderator.user_nid, after=after, limit=_PAGE)

    async def enforce(self, moderator: Account, seats: Sequence[Seat]) -> Enforced:
        """Ban as many of them as there is time for."""
        done, begun = Enforced(), monotonic()
        for number, seat in enumerate(seats):
            if number == MOST or monotonic() - begun > SECONDS:
                done.next = seats[number - 1]
                break
            try:
                await self.memberships.ban(
                    Move(
                        room_id=seat.room_id,
                        sender=moderator.user_id,
                        target=seat.user_id,
                        membership=BAN,
                        reason=REASON,
                    )
                )
            except MatrixError as refusal:
                done.refused.append((seat, refusal.message))
            else:
                done.banned.append(seat)
        return done
