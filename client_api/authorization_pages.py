"""Client-Server API, "Authorisation code flow": people log in with their browser and let a client in, or not."""

from html import escape
from urllib.parse import urlsplit

from attrs import frozen

from client_api.login_forms import LoginForms
from client_api.oauth_clients import AUTHORIZE, OAuthFacts
from client_api.visits import Visit, Visits, go
from homeserver.core.errors import MatrixError
from homeserver.core.oauth.errors import OAuthError
from homeserver.core.oauth.requests import AuthorizationRequest, authorization_request, way_back
from homeserver.services.oauth.clients import OAuthClient, OAuthClients
from homeserver.services.oauth.tokens import OAuthTokens
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.pages import button, fault, page, sent, text
from homeserver.web.reply import Reply, Result
from storage.accounts import Account


@frozen
class _Asked:
    """A client's request that can be put to people."""

    client: OAuthClient
    request: AuthorizationRequest


@frozen
class AuthorizationPages:
    """The request stays in the page's address: each step reads it anew, and nothing is kept until somebody agrees."""

    facts: OAuthFacts
    visits: Visits
    clients: OAuthClients
    tokens: OAuthTokens
    forms: LoginForms

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("GET", AUTHORIZE, self.ask, auth=Auth.NONE, rate="other"),
            Endpoint("POST", AUTHORIZE, self.answer, auth=Auth.NONE, rate="login", stream=True),
        ]

    async def ask(self, call: Call) -> Result:
        asked = await self._asked(call)
        if isinstance(asked, Reply):
            return asked
        visit = await self.visits.begin(call)
        if (arrival := await self.forms.arrival(call, visit)) is not None:
            return self.visits.remember(go(arrival[0]), arrival[1])
        return self.visits.remember(self._page(call, visit, asked, ""), visit.secret)

    async def answer(self, call: Call) -> Result:
        asked = await self._asked(call)
        if isinstance(asked, Reply):
            return asked
        visit, values = await self.visits.begin(call), await sent(call)
        try:
            visit.require_ours(values)
            return await self._step(call, visit, asked, values)
        except MatrixError as refusal:
            shown = self._page(call, visit, asked, refusal.message, create=values.get("step") == "register")
            return self.visits.remember(shown, visit.secret)

    async def _step(self, call: Call, visit: Visit, asked: _Asked, values: dict[str, str]) -> Reply:
        step = values.get("step")
        if step in ("login", "register", "leave"):
            secret = await self.forms.step(call, visit, values)
            return self.visits.remember(go(call.raw_target), secret)
        if visit.account is None:
            return self._page(call, visit, asked, "Please log in again")
        if step != "allow":
            refused = {"error": "access_denied", "error_description": "The user has refused"}
            return go(asked.request.answer(self._signed(refused)))
        code = await self.tokens.new_code(asked.client, asked.request, visit.account.user_nid)
        return go(asked.request.answer(self._signed({"code": code})))

    def _signed(self, values: dict[str, str]) -> dict[str, str]:
        """With who answers, for clients that speak to several servers [RFC 9207]."""
        return {**values, "iss": f"{self.facts.base_url}/"}

    async def _asked(self, call: Call) -> _Asked | Reply:
        """The request, or how its fault is told: to the client, unless it cannot be told from a stranger."""
        asked = call.query.all()
        try:
            client = await self.clients.find(asked.get("client_id", ""))
            back = way_back(asked, client.metadata)
        except OAuthError as error:
            return page("This does not work", text(f"{error.description}."), status=400)
        try:
            return _Asked(client, authorization_request(asked, client.metadata))
        except OAuthError as error:
            return go(back.refusal(error))

    def _page(self, call: Call, visit: Visit, asked: _Asked, problem: str, *, create: bool = False) -> Reply:
        who = asked.client.metadata
        if visit.account is None:
            why = f"{who.name} ({who.host}) wants to use your account."
            return self.forms.page(call, visit, why, problem, create=create or asked.request.create)
        return _consent(visit, visit.account, asked, problem)


def _consent(visit: Visit, account: Account, asked: _Asked, problem: str) -> Reply:
    who = asked.client.metadata
    links = "".join(
        f' <a href="{escape(uri)}" rel="noreferrer noopener" target="_blank">{label}</a>'
        for label, uri in (("Terms", who.tos_uri), ("Privacy", who.policy_uri))
        if uri
    )
    told = (
        f"<p><b>{escape(who.name)}</b> from <b>{escape(who.host)}</b> wants to use your account "
        f"<b>{escape(account.user_id)}</b>: read and send messages, and change all that you can change.{links}</p>"
    )
    allow = visit.form(button("Allow", "allow") + button("Refuse", "deny", look="plain"))
    other = visit.form(button("Use another account", "leave", look="plain"))
    body, status = fault(problem) + told + allow + other, 400 if problem else 200
    target = _target(asked.request.redirect_uri)
    return page(f"Let {who.name} in?", body, status=status, leads_to=target)


def _target(redirect_uri: str) -> str:
    """Where the answer leads, as a source of a content security policy."""
    parts = urlsplit(redirect_uri)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else f"{parts.scheme}:"
