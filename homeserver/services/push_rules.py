"""What users make of their push rules: kept as m.push_rules, account data for syncs [cs "Push Rules API"]."""

from collections.abc import Callable
from typing import Any

from attrs import evolve, frozen

from homeserver.core.push.rules import Place, Predefined, Rule, Ruleset
from storage.account_data import GLOBAL, AccountData, find_account_data, set_account_data
from storage.committer import Committer, Kind, Touched
from storage.database import Connection, Database

PUSH_RULES = "m.push_rules"


@frozen
class Owner:
    """Whose rules they are."""

    user_id: str
    user_nid: int


@frozen
class PushRules:
    """Reads and changes rules."""

    database: Database
    committer: Committer
    predefined: Predefined

    async def of(self, owner: Owner) -> Ruleset:
        """All rules of a user."""
        async with self.database.read() as conn:
            return await self._kept(conn, owner)

    async def put(self, owner: Owner, kind: str, rule: Rule, place: Place) -> None:
        """Make or change a rule of the user's own."""
        await self._change(owner, lambda rules: rules.put(kind, rule, place))

    async def delete(self, owner: Owner, kind: str, rule_id: str) -> None:
        """Delete a rule of the user's own. Raises M_NOT_FOUND."""
        await self._change(owner, lambda rules: rules.without(kind, rule_id))

    async def enable(self, owner: Owner, kind: str, rule_id: str, *, enabled: bool) -> None:
        """Switch a rule on or off. Raises M_NOT_FOUND."""
        await self._change(
            owner, lambda rules: rules.changed(kind, rule_id, lambda rule: evolve(rule, enabled=enabled))
        )

    async def set_actions(self, owner: Owner, kind: str, rule_id: str, actions: tuple[Any, ...]) -> None:
        """Let a rule do something else. Raises M_NOT_FOUND."""
        await self._change(
            owner, lambda rules: rules.changed(kind, rule_id, lambda rule: evolve(rule, actions=actions))
        )

    async def heed_threads(self, owner: Owner) -> None:
        """The user subscribes to threads: from now on, other threads do not notify [MSC4306]."""
        await self._change(owner, Ruleset.with_threads)

    async def _change(self, owner: Owner, change: Callable[[Ruleset], Ruleset]) -> None:
        before = await self.of(owner)
        if (
            change(before) == before
        ):  # refusals are told here, where nobody else waits; what changes nothing is no news
            return

        async def job(conn: Connection, position: int) -> None:
            # The clock is held: nobody else, in no process, changes the rules between these two statements.
            content = change(await self._kept(conn, owner)).as_content()
            await set_account_data(conn, position, owner.user_nid, AccountData(GLOBAL, PUSH_RULES, content))

        await self.committer.run(job, Touched(users=(owner.user_nid,), kind=Kind.PUSH_RULES))

    async def _kept(self, conn: Connection, owner: Owner) -> Ruleset:
        content = await find_account_data(conn, owner.user_nid, GLOBAL, PUSH_RULES)
        return self.predefined.with_kept(owner.user_id, content)
