"""The forms by which people log in, or make an account, on our own pages."""

import hmac
from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import quote, urlencode

from attrs import field, frozen

from client_api.visits import Visit
from homeserver.core.errors import bad_json, forbidden
from homeserver.services.addresses.stages import TERMS
from homeserver.services.auth_stages import DUMMY, REGISTRATION_TOKEN
from homeserver.services.interactive_auth import Ask, InteractiveAuth
from homeserver.services.oauth.web_sessions import WebSessions
from homeserver.services.registration import NewAccount, Registration, closed
from homeserver.web.call import Call
from homeserver.web.pages import button, fault, line, page, text
from homeserver.web.reply import Reply

_SIGN_ON = "/_matrix/client/v3/login/sso/redirect"
_TOKEN, _WAY_BACK = "loginToken", "way_back"
_BY_FORM = frozenset({DUMMY, REGISTRATION_TOKEN, TERMS})  # stages that need no more than a form


@frozen
class LoginForms:
    """Used by each page that needs to know who is there."""

    sessions: WebSessions
    registration: Registration
    interactive_auth: InteractiveAuth
    base_url: str
    services: Mapping[str, str] = field(factory=dict)  # login services by id: what they are called

    @property
    def flow(self) -> tuple[str, ...] | None:
        """The way to an account that leads through no more than a form."""
        flows = self.registration.rules.flows
        return next((tuple(flow) for flow in flows if _BY_FORM.issuperset(flow)), None)

    def page(self, call: Call, visit: Visit, why: str, problem: str, *, create: bool = False) -> Reply:
        """Both forms, the wanted one first."""
        server_name = self.registration.server_name
        parts = [self._login(visit) + self._elsewhere(call, visit)]
        if self.flow is not None:
            parts.insert(0 if create else 1, self._register(visit, self.flow))
        title = f"{'Welcome to' if create and self.flow else 'Log in to'} {server_name}"
        return page(title, text(why) + fault(problem) + "".join(parts), status=400 if problem else 200)

    async def arrival(self, call: Call, visit: Visit) -> tuple[str, str] | None:
        """Has the browser come back from a login service? Where to go on, and its secret from now on."""
        token, way_back = call.query.string(_TOKEN, ""), call.query.string(_WAY_BACK, "")
        if not token or not hmac.compare_digest(way_back.encode(), visit.way_back.encode()):
            return None
        path, _, query = call.raw_target.partition("?")
        kept = [pair for pair in query.split("&") if pair.partition("=")[0] not in (_TOKEN, _WAY_BACK)]
        return f"{path}?{'&'.join(kept)}", await self.sessions.log_in_by_token(token)

    async def step(self, call: Call, visit: Visit, values: dict[str, str]) -> str:
        """Do what a form says; gives the secret of the browser from now on. Raises MatrixError."""
        if values.get("step") == "register":
            return await self._make_account(call, values)
        if values.get("step") == "login":
            return await self.sessions.log_in(values.get("name", "").strip(), values.get("password", ""))
        await self.sessions.close(visit.secret)
        return ""

    async def _make_account(self, call: Call, values: dict[str, str]) -> str:
        if self.flow is None:
            raise closed()
        name, password = values.get("name", "").strip(), values.get("password", "")
        if not name:
            raise bad_json("Please choose a user name")
        if password != values.get("again", ""):
            raise bad_json("The two passwords differ")
        self.registration.hasher.check_strength(password)
        await self.registration.user_id_for(name)
        facts: dict[str, Any] = {}
        for stage in self.flow:
            if stage == TERMS and values.get("terms") != "yes":
                raise forbidden("The terms must be accepted")
            ask = Ask(purpose="register", body={}, flows=(self.flow,), client_ip=call.client_ip)
            facts |= await self.interactive_auth.stages[stage].complete(
                {"token": values.get("token", "")}, ask
            )
        new = NewAccount(localpart=name, password=password)
        return await self.sessions.open(await self.registration.register(new, facts=facts))

    def _login(self, visit: Visit) -> str:
        inside = (
            line("User name", "name", complete="username")
            + line("Password", "password", kind="password", complete="current-password")
            + button("Log in", "login")
        )
        return f"<h2>I have an account</h2>{visit.form(inside)}"

    def _elsewhere(self, call: Call, visit: Visit) -> str:
        """Links to the login services, which lead back to this page."""
        if not self.services:
            return ""
        path, _, query = call.raw_target.partition("?")
        kept = [
            pair for pair in query.split("&") if pair and pair.partition("=")[0] not in (_TOKEN, _WAY_BACK)
        ]
        back = urlencode(
            {"redirectUrl": f"{self.base_url}{path}?{'&'.join([*kept, f'{_WAY_BACK}={visit.way_back}'])}"}
        )
        links = "".join(
            f'<li><a href="{_SIGN_ON}/{quote(each, safe="")}?{escape(back)}">{escape(name)}</a></li>'
            for each, name in self.services.items()
        )
        return f"<p>Or log in with:</p><ul>{links}</ul>"

    def _register(self, visit: Visit, flow: tuple[str, ...]) -> str:
        inside = (
            line("User name", "name", complete="username")
            + line("Password", "password", kind="password", complete="new-password")
            + line("Password, once more", "again", kind="password", complete="new-password")
        )
        if REGISTRATION_TOKEN in flow:
            inside += line("Registration token", "token")
        if TERMS in flow:
            policies = self.interactive_auth.stages[TERMS].params()["policies"].values()
            links = ", ".join(
                f'<a href="{escape(each["en"]["url"])}" target="_blank">{escape(each["en"]["name"])}</a>'
                for each in policies
            )
            inside += (
                f'<label><input type="checkbox" name="terms" value="yes" required> I accept: {links}</label>'
            )
        return f"<h2>I am new here</h2>{visit.form(inside + button('Create account', 'register'))}"
