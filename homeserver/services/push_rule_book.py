"""Whose push rules are not the predefined ones, and who has changed theirs lately: known without asking for each event.

Nearly everybody's rules are the predefined ones for nearly every event, so only the others are remembered by number.
A change is told by its commit; what other processes change is looked up where the clock has a hole.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence

from attrs import define, field

from homeserver.core.push.evaluate import CompiledRules, Selected, select
from homeserver.core.push.rules import Predefined, Ruleset
from storage import push_rules
from storage.committer import Committed, Kind
from storage.database import Database

MAX_CHANGES = 1_000  # remembered; an audience that has missed more is read anew
MAX_PERSONAL = 2_000  # compiled predefined rules of users whom events have named


@define(eq=False)
class PushRuleBook:
    """What rooms' audiences ask about users' rules."""

    database: Database
    predefined: Predefined
    general: Selected = field(init=False)  # the predefined rules but for those that are about the user
    position: int = 0
    changes: int = 0  # how many have been noted
    _heard: int = 0
    _stale: bool = True
    _own: set[int] = field(factory=set)
    _latest: list[int] = field(factory=list)
    _personal: OrderedDict[str, CompiledRules] = field(factory=OrderedDict)

    @general.default
    def _general(self) -> Selected:
        return select(self.predefined.template, personal=False)

    def heard(self, position: int, commits: Sequence[Committed]) -> None:
        """To be called after each turn of the committer, in commit order."""
        if commits[0].before > self._heard:
            self._stale = True
        if any(commit.touched.kind is Kind.PUSH_RULES for commit in commits):
            self._stale = True
        self._heard = max(self._heard, position)

    @property
    def is_stale(self) -> bool:
        """May there be rules that we have not heard of?"""
        return self._stale

    async def renew(self) -> None:
        """Take note of whoever has changed rules since we looked last."""
        self._stale = False
        try:
            async with self.database.read() as conn:
                found = await push_rules.changed_since(conn, self.position)
        except BaseException:
            self._stale = True
            raise
        for user_nid, position in found:
            if position > self.position:
                self._own.add(user_nid)
                self._latest.append(user_nid)
                self.changes += 1
        self.position = max([self.position, *(position for _, position in found)])
        del self._latest[:-MAX_CHANGES]

    def has_own(self, user_nid: int) -> bool:
        """Has the user ever changed a rule?"""
        return user_nid in self._own

    def changed_since(self, seen: int) -> set[int] | None:
        """Who has changed rules after the first `seen` changes; None: too many."""
        missed = self.changes - seen
        if missed > len(self._latest):
            return None
        return set(self._latest[-missed:]) if missed else set()

    async def rules(self, user_nids: Collection[int]) -> Mapping[int, tuple[str, Ruleset]]:
        """User ids and rules of those who have rules of their own."""
        if not user_nids:
            return {}
        async with self.database.read() as conn:
            found = await push_rules.kept(conn, user_nids)
        return {
            kept.user_nid: (kept.user_id, self.predefined.with_kept(kept.user_id, kept.content))
            for kept in found
        }

    def unchanged(self, user_id: str) -> CompiledRules:
        """The rules of one user who has changed nothing, those about the user included."""
        known = self._personal.get(user_id)
        if known is None:
            known = self._personal[user_id] = select(self.predefined.rules(user_id)).compiled()
            if len(self._personal) > MAX_PERSONAL:
                self._personal.popitem(last=False)
        return known
