"""Client-Server API, "Fallback": stages of authentication in a browser, for clients that do not know them."""

from html import escape
from typing import Any

from attrs import frozen

from homeserver.core.errors import MatrixError, not_found
from homeserver.services.addresses.stages import RECAPTCHA, TERMS
from homeserver.services.interactive_auth import Ask, InteractiveAuth
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.pages import form, page, sent, text
from homeserver.web.reply import Reply, Result

_DONE = """<script>
if (window.onAuthDone) { window.onAuthDone(); }
else if (window.opener && window.opener.postMessage) { window.opener.postMessage("authDone", "*"); }
</script>"""
_CAPTCHA_SCRIPT = '<script src="https://www.google.com/recaptcha/api.js" async defer></script>'
_CAPTCHA_SOURCES = (
    "; script-src 'unsafe-inline' https://www.google.com/recaptcha/ https://www.gstatic.com/recaptcha/"
    "; frame-src https://www.google.com/recaptcha/; connect-src https://www.google.com/recaptcha/"
)


@frozen
class AuthPages:
    """GET and POST /auth/{stage}/fallback/web [cs "Fallback"]."""

    interactive_auth: InteractiveAuth

    def endpoints(self) -> list[Endpoint]:
        path = "/v3/auth/{stage}/fallback/web"
        return [
            Endpoint("GET", path, self.ask, auth=Auth.NONE, rate="other"),
            Endpoint("POST", path, self.answer, auth=Auth.NONE, rate="other", stream=True),
        ]

    async def ask(self, call: Call) -> Result:
        return self._page(call.path["stage"], call.query.string("session"), None)

    async def answer(self, call: Call) -> Result:
        stage, values = call.path["stage"], await sent(call)
        session_id = values.get("session", "")
        self._params(stage)
        auth = {**values, "response": values.get("g-recaptcha-response", "")}
        ask = Ask(purpose="", body={}, flows=(), client_ip=call.client_ip)
        try:
            facts = await self.interactive_auth.stages[stage].complete(auth, ask)
        except MatrixError as refusal:
            return self._page(stage, session_id, refusal)
        if not await self.interactive_auth.complete_stage(session_id, stage, facts):
            return page("Too late", text("Please start again: this took too long."), status=400)
        return finished()

    def _page(self, stage: str, session_id: str, refusal: MatrixError | None) -> Reply:
        params, values = self._params(stage), {"session": session_id}
        problem = "" if refusal is None else text(refusal.message)
        status = 200 if refusal is None else refusal.status
        if stage == TERMS:
            listed = "".join(_link(one["en"]) for one in params["policies"].values())
            body = f"{problem}<p>Please read and accept:</p><ul>{listed}</ul>"
            return page("Terms", body + form(values, "<button>I agree</button>"), status=status)
        box = f'<div class="g-recaptcha" data-sitekey="{escape(params["public_key"])}"></div>'
        inside = f"{box}<p><button>Go on</button></p>"
        body = problem + form(values, inside)
        return page("Are you human?", body, status=status, script=_CAPTCHA_SCRIPT, policy=_CAPTCHA_SOURCES)

    def _params(self, stage: str) -> dict[str, Any]:
        """What the stage needs to be shown; M_NOT_FOUND for those that have no page."""
        known = self.interactive_auth.stages.get(stage) if stage in (TERMS, RECAPTCHA) else None
        if known is None:
            raise not_found("There is no page for this stage")
        return dict(known.params())


def finished(title: str = "Thank you", words: str = "You can close this page and go on.") -> Reply:
    """A stage is over: the client, if it has opened this page, hears of it."""
    return page(title, text(words), script=_DONE, policy="; script-src 'unsafe-inline'")


def _link(document: dict[str, str]) -> str:
    url, name = escape(document["url"]), escape(document["name"])
    return f'<li><a rel="noopener" target="_blank" href="{url}">{name}</a></li>'
