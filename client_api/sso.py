"""Client-Server API, "SSO client login/authentication": to login services and back, by the browser.

Whoever opens a page here may have been led there. So a client gets a login token without a question only if the
operator knows it and this browser itself has set out for it; all others are named to the person first. What is proved
again for a session (`m.login.sso`) counts only for the user whose session it is.
"""

from collections.abc import Mapping
from hmac import compare_digest
from html import escape
from urllib.parse import quote, urlencode

from attrs import evolve, frozen

from client_api.auth_pages import finished
from client_api.oauth_clients import ACCOUNT
from client_api.service_linking import ServiceLinking
from homeserver.core.errors import MatrixError, invalid_param, not_found
from homeserver.core.sso import is_among, is_client_url, shown_place, with_login_token
from homeserver.services.interactive_auth import InteractiveAuth
from homeserver.services.logins import Logins
from homeserver.services.sso.accounts import SSO, Policy, SsoAccounts
from homeserver.services.sso.cas import Cas
from homeserver.services.sso.oidc import CALLBACK
from homeserver.services.sso.providers import Person, Trip
from homeserver.services.sso.sign_on import SignOn
from homeserver.services.sso.trips import Trips
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.pages import page, text
from homeserver.web.reply import Reply, Result

_NOBODY = "@:"  # no user's id
_REDIRECT = "/v3/login/sso/redirect"


@frozen
class SsoApi:
    """[cs "SSO client login/authentication"]"""

    sign_on: SignOn
    accounts: SsoAccounts
    logins: Logins
    interactive_auth: InteractiveAuth
    trips: Trips
    linking: ServiceLinking

    def endpoints(self) -> list[Endpoint]:
        ways = [
            Endpoint("GET", _REDIRECT, self.redirect, auth=Auth.NONE, rate="login"),
            Endpoint("GET", f"{_REDIRECT}/{{idpId}}", self.redirect, auth=Auth.NONE, rate="login"),
        ]
        if not self.sign_on.providers:
            return ways
        return [
            *ways,
            Endpoint("GET", "/v3/login/cas/redirect", self.cas_redirect, auth=Auth.NONE, rate="login"),
            Endpoint("GET", f"/v3/auth/{SSO}/fallback/web", self.fallback, auth=Auth.NONE, rate="login"),
            Endpoint("GET", "/v3/login/cas/ticket", self.ticket, auth=Auth.NONE, rate="login"),
            Endpoint("GET", CALLBACK, self.callback, auth=Auth.NONE, rate="login"),
        ]

    async def redirect(self, call: Call) -> Result:
        client = _client(call)
        if not self.sign_on.providers:
            raise not_found("Nobody logs in to this server by single sign-on")
        chosen = call.path.get("idpId")
        if chosen is None and len(self.sign_on.providers) > 1:
            query = urlencode({"redirectUrl": client})
            return self._choice(f"/_matrix/client{_REDIRECT}/{{}}?{query}", "Log in")
        return await self._set_out(Trip(provider=chosen or self.sign_on.only, client=client))

    async def cas_redirect(self, call: Call) -> Result:
        """[cs r0.3 "CAS-based client login"]"""
        if self.sign_on.cas is None:
            raise not_found("There is no CAS server here")
        return await self._set_out(Trip(provider=self.sign_on.cas, client=_client(call)))

    async def fallback(self, call: Call) -> Result:
        """Somebody is to prove again who they are: they hear so, and press on, before they do [cs "Fallback"].

        The links of the page hold a secret of this browser's, so that nobody else can make them.
        """
        session, name = call.query.string("session"), f"again {call.query.string('session')}"
        shown = self.trips.find(call.header("Cookie"), name)
        state = call.query.string("state", "")
        if shown is not None and compare_digest(shown.state.encode(), state.encode()):
            return await self._set_out(Trip(provider=call.query.string("provider"), session=session))
        trip = self.trips.begin(Trip(provider="", session=session))
        query = urlencode({"session": session, "state": trip.state})
        explained = "A client wants to change your account. Go on only if it was you who began this."
        place = f"/_matrix/client/v3/auth/{SSO}/fallback/web?{query}&provider={{}}"
        reply = self._choice(place, "Confirm that it is you", explained)
        return evolve(reply, headers={**reply.headers, "Set-Cookie": self.trips.cookie(trip, name)})

    async def ticket(self, call: Call) -> Result:
        """A browser comes back from a CAS server."""
        name = call.query.string("provider", self.sign_on.cas or "")
        client, session = call.query.string("redirectUrl", ""), call.query.string("session", "")
        trip = Trip(provider=name, client=client, session="" if client else session)
        if not (client or session) or (client and not is_client_url(client)):
            return _refusal(invalid_param("This is no way back to a client"))
        provider, _ = self.sign_on.find(name)
        if not isinstance(provider, Cas):
            raise not_found("There is no CAS server of this name")
        begun = self.trips.find(call.header("Cookie"), provider.kept_as(trip))
        said = {"ticket": call.query.string("ticket", "")}
        if begun is None or not begun.leads_to(trip):
            return await self._arrived(call, trip, said, known=False)
        return await self._arrived(call, begun, said, known=True)

    async def callback(self, call: Call) -> Result:
        """A browser comes back from an OpenID Connect provider."""
        said = {name: call.query.string(name, "") for name in ("state", "code", "error", "iss")}
        said = {name: value for name, value in said.items() if value}
        trip = self.trips.find(call.header("Cookie"), said.get("state", ""))
        if trip is None:
            why = "This login was not started in this browser, or too long ago: please start again"
            return _refusal(MatrixError(400, "M_UNKNOWN", why))
        return await self._arrived(call, trip, said, known=True)

    async def _set_out(self, trip: Trip) -> Reply:
        way, cookie = await self.trips.set_out(self.sign_on.find(trip.provider)[0], trip)
        headers = {"Location": way, "Set-Cookie": cookie, "Cache-Control": "no-store"}
        return Reply(302, b"", headers, "text/html")

    async def _arrived(self, call: Call, trip: Trip, said: Mapping[str, str], *, known: bool) -> Reply:
        provider, policy = self.sign_on.find(trip.provider)
        try:
            person = await provider.person(trip, said)
            if trip.visit:
                reply = await self.linking.finish(call, trip, policy, person)
            elif trip.session:
                reply = await self._proved(trip, policy, person)
            else:
                reply = await self._logged_in(trip, policy, person, known=known)
        except MatrixError as refusal:
            return _refusal(refusal, back=bool(trip.visit))
        ended = self.trips.end(provider.kept_as(trip))
        return evolve(reply, headers={**reply.headers, "Set-Cookie": ended})

    async def _proved(self, trip: Trip, policy: Policy, person: Person) -> Reply:
        """Whoever it is: the client hears whether it is the user who asks when it goes on."""
        shown = finished()
        try:
            user_id = (await self.accounts.enter(evolve(policy, new_accounts=False), person)).user_id
        except MatrixError as refusal:
            user_id, shown = _NOBODY, finished("This did not work", refusal.message)
        if not await self.interactive_auth.complete_stage(trip.session, SSO, {"user_id": user_id}):
            return page("Too late", text("Please start again: this took too long."), status=400)
        return shown

    async def _logged_in(self, trip: Trip, policy: Policy, person: Person, *, known: bool) -> Reply:
        account = await self.accounts.enter(policy, person)
        token, _ = await self.logins.new_login_token(account.user_nid)
        url = with_login_token(trip.client, token)
        if known and is_among(trip.client, self.sign_on.clients):
            return Reply(302, b"", {"Location": url, "Cache-Control": "no-store"}, "text/html")
        asked = text(f"Log in to {shown_place(trip.client)} as {account.user_id}?")
        warned = text("Whatever is there gets your account. If you did not begin this, close this page.")
        return page("Log in", f'{asked}{warned}<p><a href="{escape(url)}">Go on</a></p>')

    def _choice(self, place: str, title: str, explained: str = "") -> Reply:
        """Links to the providers."""
        items = "".join(
            f'<li><a href="{escape(place.format(quote(name, safe="")))}">{escape(called)}</a></li>'
            for name, called in self.sign_on.names.items()
        )
        said = text(explained) if explained else ""
        return page(title, f"{said}<p>Log in with:</p><ul>{items}</ul>")


def _client(call: Call) -> str:
    url = call.query.string("redirectUrl")
    if not is_client_url(url):
        raise invalid_param("redirectUrl must be an http or https URL, or one of an app")
    return url


def _refusal(refusal: MatrixError, *, back: bool = False) -> Reply:
    link = f'<p><a href="{ACCOUNT}">Back to your account</a></p>' if back else ""
    return page("This did not work", text(refusal.message) + link, status=refusal.status)
