"""Pages behind the links in our mails: people confirm that an address is theirs [cs "Identifier types"]."""

from collections.abc import Mapping

from attrs import frozen

from homeserver.core.errors import MatrixError
from homeserver.services.addresses.validation import CONFIRM, AddressValidation
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.pages import form, is_form, page, sent, text
from homeserver.web.reply import Reply, Result

_TITLE = "Confirm your e-mail address"


@frozen
class ConfirmationPages:
    """The link shows a page with a button: programs that look at mails open links, but press no buttons.

    `at_once`: the operator wants it without the button.
    """

    validation: AddressValidation
    server_name: str
    at_once: bool = False

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("GET", CONFIRM, self.ask, auth=Auth.NONE, rate="other"),
            Endpoint("POST", CONFIRM, self.confirm, auth=Auth.NONE, rate="other", stream=True),
        ]

    async def ask(self, call: Call) -> Result:
        values = {name: call.query.string(name, "") for name in ("sid", "token")}
        if self.at_once:
            return await self._confirmed(values)
        question = text(f"Is this e-mail address yours, and do you want to use it on {self.server_name}?")
        return page(_TITLE, question + form(values, "<button>Yes, it is mine</button>"))

    async def confirm(self, call: Call) -> Result:
        values = await sent(call)
        if is_form(call):
            return await self._confirmed(values)
        await self.validation.confirm(values.get("sid", ""), values.get("token", ""))
        return {"success": True}

    async def _confirmed(self, values: Mapping[str, str]) -> Reply:
        try:
            found = await self.validation.confirm(values.get("sid", ""), values.get("token", ""))
        except MatrixError as refusal:
            return page(_TITLE, text(refusal.message), status=refusal.status)
        if found.next_link is not None:
            return Reply(303, b"", {"Location": found.next_link}, "text/html")
        return page("Thank you", text("Your address is confirmed. You can close this page and go on."))
