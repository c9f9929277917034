"""Client-Server API, "Device authorisation flow": people confirm a login that began where there is no browser."""

from html import escape

from attrs import frozen

from client_api.login_forms import LoginForms
from client_api.oauth_clients import LINK
from client_api.visits import Visit, Visits, go
from homeserver.core.errors import MatrixError
from homeserver.core.oauth.errors import OAuthError
from homeserver.services.oauth.clients import OAuthClients
from homeserver.services.oauth.device_codes import DeviceCodes
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.pages import button, fault, line, page, sent, text
from homeserver.web.reply import Reply, Result
from storage.oauth import DeviceCodeRow

_TITLE = "Link a device"
_UNKNOWN = "No login waits under this code. It may have been mistyped, or have taken too long."


@frozen
class DeviceLinkPages:
    """The code stands in the page's address or is typed in; nothing happens before somebody agrees."""

    visits: Visits
    clients: OAuthClients
    device_codes: DeviceCodes
    forms: LoginForms

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("GET", LINK, self.ask, auth=Auth.NONE, rate="other"),
            Endpoint("POST", LINK, self.answer, auth=Auth.NONE, rate="login", stream=True),
        ]

    async def ask(self, call: Call) -> Result:
        visit = await self.visits.begin(call)
        if (arrival := await self.forms.arrival(call, visit)) is not None:
            return self.visits.remember(go(arrival[0]), arrival[1])
        shown = await self._page(call, visit, call.query.string("user_code", ""), "")
        return self.visits.remember(shown, visit.secret)

    async def answer(self, call: Call) -> Result:
        visit, values = await self.visits.begin(call), await sent(call)
        code = values.get("user_code", call.query.string("user_code", ""))
        try:
            visit.require_ours(values)
            return await self._step(call, visit, code, values)
        except MatrixError as refusal:
            return self.visits.remember(await self._page(call, visit, code, refusal.message), visit.secret)

    async def _step(self, call: Call, visit: Visit, code: str, values: dict[str, str]) -> Reply:
        step = values.get("step")
        if step in ("login", "register", "leave"):
            return self.visits.remember(go(call.raw_target), await self.forms.step(call, visit, values))
        if visit.account is None or step not in ("allow", "deny"):
            return await self._page(call, visit, code, "")
        decided = await self.device_codes.decide(code, visit.account.user_nid if step == "allow" else None)
        if not decided:
            return await self._page(call, visit, code, _UNKNOWN)
        ended = "The device is being logged in." if step == "allow" else "The device was refused."
        return page(_TITLE, text(f"{ended} You can close this page."))

    async def _page(self, call: Call, visit: Visit, code: str, problem: str) -> Reply:
        if visit.account is None:
            return self.forms.page(call, visit, "Log in to link a device to your account.", problem)
        waiting = await self.device_codes.waiting(code) if code else None
        if waiting is None:
            problem = problem or (_UNKNOWN if code else "")
            inside = line("Code that your device shows", "user_code") + button("Go on", "look")
            return page(_TITLE, fault(problem) + visit.form(inside), status=400 if problem else 200)
        return page(_TITLE, fault(problem) + await self._question(visit, waiting, code))

    async def _question(self, visit: Visit, waiting: DeviceCodeRow, code: str) -> str:
        assert visit.account is not None
        try:
            who = (await self.clients.find(waiting.client_id)).metadata
        except OAuthError:
            return text(_UNKNOWN)
        told = (
            f"<p><b>{escape(who.name)}</b> from <b>{escape(who.host)}</b> wants to log in as "
            f"<b>{escape(visit.account.user_id)}</b> on another device.</p>"
            "<p>Allow this only if you have the device before you and began this yourself: whoever sent you here "
            "would have your account.</p>"
        )
        kept = f'<input type="hidden" name="user_code" value="{escape(code)}">'
        return told + visit.form(kept + button("Allow", "allow") + button("Refuse", "deny", look="plain"))
