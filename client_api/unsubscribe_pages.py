"""The page behind the link in mails about unread messages: whoever has the mail gets no more of them."""

from attrs import frozen

from homeserver.services.pushers import Pushers
from homeserver.services.pushing.digests import UNSUBSCRIBE
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.pages import form, page, sent, text
from homeserver.web.reply import Result

_TITLE = "Mails about unread messages"


@frozen
class UnsubscribePages:
    """The link shows a button; mail programs press it by themselves, with one request [RFC 8058]."""

    pushers: Pushers

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("GET", UNSUBSCRIBE, self.ask, auth=Auth.NONE, rate="other"),
            Endpoint("POST", UNSUBSCRIBE, self.end, auth=Auth.NONE, rate="other", stream=True),
        ]

    async def ask(self, call: Call) -> Result:
        values = {name: call.query.string(name, "") for name in ("pusher", "token")}
        question = text("Do you want to get no more mails about unread messages at this address?")
        return page(_TITLE, question + form(values, "<button>No more mails</button>"))

    async def end(self, call: Call) -> Result:
        asked = {name: call.query.string(name, "") for name in ("pusher", "token")}
        values = asked if asked["token"] else await sent(call)
        nid, token = values.get("pusher", ""), values.get("token", "")
        known = nid.isascii() and nid.isdigit() and len(nid) < 19
        if not known or not await self.pushers.unsubscribe(int(nid), token):
            return page(_TITLE, text("This link is used up: you get no such mails any more."), status=404)
        return page(_TITLE, text("You will get no more of these mails."))
