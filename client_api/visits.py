"""People who come to our own pages with a browser: who they are, and that their forms are ours.

A cookie holds a secret: that of the session once somebody has logged in, any other before. Each form carries a key
made of it, so that no other site can send forms in our visitors' names.
"""

import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie

from attrs import frozen

from homeserver.core.errors import forbidden
from homeserver.services.oauth.web_sessions import LIFETIME_MS, LoggedIn, WebSessions
from homeserver.services.secret_texts import new_token
from homeserver.web.call import Call
from homeserver.web.pages import form
from homeserver.web.reply import Reply
from storage.accounts import Account

KEY = "key"


@frozen
class Visit:
    """One request of a browser."""

    secret: str
    who: LoggedIn | None

    @property
    def account(self) -> Account | None:
        """Who is logged in."""
        return None if self.who is None else self.who.account

    @property
    def way_back(self) -> str:
        """What a browser brings along that comes back from a login service: nobody else can have sent it there."""
        return hashlib.sha256(b"way back " + self.secret.encode()).hexdigest()

    @property
    def linking(self) -> str:
        """What a login service's answer must belong to that is linked with the account of this visit."""
        return hashlib.sha256(b"linking " + self.secret.encode()).hexdigest()

    def form(self, inside: str) -> str:
        """A form of ours; `inside` is HTML already."""
        return form({KEY: self._key()}, inside)

    def require_ours(self, values: dict[str, str]) -> None:
        """Refuse what no form of ours has sent."""
        if not hmac.compare_digest(values.get(KEY, "").encode(), self._key().encode()):
            raise forbidden(
                "This page was open for too long, or your browser refuses cookies: please try again"
            )

    def _key(self) -> str:
        return hashlib.sha256(b"form " + self.secret.encode()).hexdigest()


@frozen
class Visits:
    """Knows visitors by their cookies. `secure`: we are reached by https."""

    sessions: WebSessions
    secure: bool

    async def begin(self, call: Call) -> Visit:
        """Who asks; somebody without a cookie gets one by `remember`."""
        secret = self._cookie(call)
        return Visit(secret or new_token("homv"), await self.sessions.find(secret))

    def remember(self, reply: Reply, secret: str) -> Reply:
        """The reply, which makes the browser bring this secret from now on."""
        protected = "; Secure" if self.secure else ""
        cookie = (
            f"{self._name}={secret}; Path=/; Max-Age={LIFETIME_MS // 1000}; HttpOnly; SameSite=Lax{protected}"
        )
        return Reply(reply.status, reply.body, {**reply.headers, "Set-Cookie": cookie}, reply.content_type)

    @property
    def _name(self) -> str:
        return "__Host-homing" if self.secure else "homing"

    def _cookie(self, call: Call) -> str:
        try:
            found = SimpleCookie(call.header("Cookie")).get(self._name)
        except CookieError:
            return ""
        return "" if found is None else found.value


def go(location: str) -> Reply:
    """Lead the browser to another page, with GET."""
    return Reply(303, b"", {"Location": location, "Cache-Control": "no-store"}, "text/html")
