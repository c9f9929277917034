"""The login services by which people have linked their account: they add and remove them, but keep a way in."""

from attrs import frozen

from homeserver.core.errors import forbidden, not_found
from homeserver.services.now import Clock, now_ms
from homeserver.services.sso.accounts import Policy
from homeserver.services.sso.providers import Person
from storage import sso
from storage.accounts import Account
from storage.database import Database

MAX_LINKS = 20


@frozen
class SsoLinks:
    """`offered` are the ids of the services that there are now: by others, nobody gets in."""

    database: Database
    offered: frozenset[str]
    clock: Clock = now_ms

    async def of(self, account: Account) -> list[sso.LinkRow]:
        """Whom login services know."""
        async with self.database.read() as conn:
            return await sso.links_of(conn, account.user_nid)

    def is_last_way_in(self, account: Account, link: sso.LinkRow, links: list[sso.LinkRow]) -> bool:
        """Would nothing be left to log in with?"""
        return account.password_hash is None and not self._others(link, links)

    async def add(self, account: Account, policy: Policy, person: Person) -> None:
        """Who logs in there as this person is this user from now on. Raises M_FORBIDDEN."""
        async with self.database.transaction() as conn:
            await sso.has_password(conn, account.user_nid)  # holds the account: what is counted stays so
            if len(await sso.links_of(conn, account.user_nid)) >= MAX_LINKS:
                raise forbidden(f"An account can be linked {MAX_LINKS} times at most")
            if not await sso.link(conn, policy.known(person), account.user_nid, self.clock()):
                raise forbidden("Whoever you are there has another account here already")

    async def remove(self, account: Account, link_nid: int) -> None:
        """Never the last way in. Raises M_FORBIDDEN, M_NOT_FOUND."""
        async with self.database.transaction() as conn:
            has_password = await sso.has_password(conn, account.user_nid)
            links = await sso.links_of(conn, account.user_nid)
            gone = next((link for link in links if link.link_nid == link_nid), None)
            if gone is None:
                raise not_found("This is not linked with your account any more")
            if not has_password and not self._others(gone, links):
                raise forbidden("You could not log in any more: link another login service first")
            await sso.unlink(conn, link_nid)

    def _others(self, link: sso.LinkRow, links: list[sso.LinkRow]) -> list[sso.LinkRow]:
        return [each for each in links if each != link and each.provider in self.offered]
