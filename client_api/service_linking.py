"""People link login services with their account, on its page: a part of it, and a way to the service and back.

Who links has proved just now to own the account, and proves then, by a login of its own at the service, who they are
there. Both count together only in the same visit of our pages: what comes back in another one links nothing.
"""

import hmac
import time
from collections.abc import Mapping
from html import escape
from secrets import token_urlsafe
from urllib.parse import quote

from attrs import frozen

from client_api.oauth_clients import ACCOUNT
from client_api.visits import Visit, Visits, go
from homeserver.core.errors import forbidden
from homeserver.services.sso.accounts import Policy
from homeserver.services.sso.links import SsoLinks
from homeserver.services.sso.providers import Person, Trip
from homeserver.services.sso.sign_on import SignOn
from homeserver.services.sso.trips import Trips
from homeserver.web.call import Call
from homeserver.web.pages import button, hidden, page, text
from homeserver.web.reply import Reply
from storage.accounts import Account
from storage.sso import LinkRow

LINK, UNLINK = "link", "unlink"  # steps of forms, and what the page is asked for


@frozen
class ServiceLinking:
    """Shows, adds and removes links."""

    sign_on: SignOn
    links: SsoLinks
    trips: Trips
    visits: Visits

    async def section(self, account: Account) -> str:
        """What is linked, and what could be."""
        links = await self.links.of(account)
        if not links and not self.sign_on.providers:
            return ""
        known = "".join(self._linked(account, link, links) for link in links)
        there = {link.provider for link in links}
        more = "".join(
            f'<li><a href="{ACCOUNT}?{LINK}={quote(each, safe="")}">Link {escape(name)}</a>'
            f"{' as somebody else' if each in there else ''}</li>"
            for each, name in self.sign_on.names.items()
        )
        told = known or text("You can log in elsewhere to come in here, once you have linked it.")
        return f"<h2>Login services</h2>{told}{f'<ul>{more}</ul>' if more else ''}"

    async def question(self, call: Call, visit: Visit, account: Account, proof: str) -> str:
        """The form for the one thing that the page is asked for; empty if it is for none. `proof` is HTML already."""
        name = self.sign_on.names.get(call.query.string(LINK, ""))
        if name is not None:
            told = f"You log in at {name} next. Whoever you are there can then log in as {account.user_id}."
            return self._form(visit, f"Link {name}", told, proof, (LINK, call.query.string(LINK)), "")
        wanted = call.query.string(UNLINK, "")
        for link in await self.links.of(account) if wanted else []:
            if str(link.link_nid) == wanted:
                told = f"Who logs in at {self._called(link)} as {link.name} will not come in here any more. "
                told += "Devices that are logged in stay so."
                title = f"Remove {self._called(link)}"
                return self._form(visit, title, told, proof, (UNLINK, wanted), "stop")
        return ""

    async def step(self, visit: Visit, account: Account, values: Mapping[str, str]) -> Reply:
        """Do what a form of ours says, whose sender has proved to own the account."""
        if values.get("step") == UNLINK:
            await self.links.remove(account, _number(values.get(UNLINK, "")))
            return go(f"{ACCOUNT}?done={UNLINK}")
        name = values.get(LINK, "")
        provider, _ = self.sign_on.find(name)
        trip = Trip(provider=name, session=token_urlsafe(24), visit=visit.linking)
        way, cookie = await self.trips.set_out(provider, trip)
        # Not by a redirect: browsers hold those of forms against `form-action`, and the service may redirect, too.
        link = f'<p><a href="{escape(way)}">Go on to {escape(provider.about.name)}</a></p>'
        shown = page(f"Log in at {provider.about.name}", text("You are led there …") + link)
        headers = {**shown.headers, "Refresh": f"0; url={way}", "Set-Cookie": cookie}
        return Reply(shown.status, shown.body, headers, shown.content_type)

    async def finish(self, call: Call, trip: Trip, policy: Policy, person: Person) -> Reply:
        """Somebody comes back from the service. Raises M_FORBIDDEN."""
        visit = await self.visits.begin(call)
        if visit.account is None or not hmac.compare_digest(trip.visit, visit.linking):
            raise forbidden("You have logged out of the page from which you came: please begin there again")
        await self.links.add(visit.account, policy, person)
        return go(f"{ACCOUNT}?done={LINK}")

    def _linked(self, account: Account, link: LinkRow, links: list[LinkRow]) -> str:
        since = time.strftime("%Y-%m-%d", time.gmtime(link.linked_ts / 1000))
        remove = f'<a href="{ACCOUNT}?{UNLINK}={link.link_nid}">Remove</a>'
        if self.links.is_last_way_in(account, link, links):
            remove = "your only way in"
        told = f"{escape(link.name)}, linked {since} · {remove}"
        return f"<p><b>{escape(self._called(link))}</b><br><small>{told}</small></p>"

    def _called(self, link: LinkRow) -> str:
        """By its id, if it is offered no more."""
        return self.sign_on.names.get(link.provider, link.provider)

    def _form(
        self, visit: Visit, title: str, told: str, proof: str, asked: tuple[str, str], look: str
    ) -> str:
        inside = hidden(*asked) + proof + button(title, asked[0], look=look)
        back = f'<p><a href="{ACCOUNT}">Back to your account</a></p>'
        return f"<h2>{escape(title)}</h2>{text(told)}{visit.form(inside)}{back}"


def _number(said: str) -> int:
    """That of a link; none has the number 0."""
    return int(said) if said.isascii() and said.isdecimal() and len(said) < 10 else 0
