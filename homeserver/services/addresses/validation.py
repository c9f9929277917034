"""Whether an address is somebody's: they are sent a link that nobody else can know [cs "Identifier types"].

A client asks with a secret of its own and gets a session; whoever opens the link confirms the session; with session
and secret the client then proves the address. A session is for one purpose, and good once. Whether an address is known
here is told in the mail only, but to who wants to add it to an account: there the specification has an error for it.
"""

import secrets
from collections.abc import Mapping
from urllib.parse import urlencode

from attrs import field, frozen

from homeserver.core.email_addresses import canonical_email, is_client_secret
from homeserver.core.errors import MatrixError, invalid_param, limit_exceeded
from homeserver.services.addresses.mailer import Mailer
from homeserver.services.now import Clock, now_ms
from homeserver.services.secret_texts import hash_token
from storage import addresses as rows
from storage.addresses import Validation
from storage.database import Database

EMAIL = "email"
REGISTER, ADD, RESET = "register", "add", "reset"
HOUR = 3_600_000
MAX_MAILS = 10  # to one address in an hour
MAX_LINK = 2_000  # characters
CONFIRM = "/_matrix/homing/confirm/email"

_SUBJECTS = {
    REGISTER: "Confirm your e-mail address",
    ADD: "Confirm your e-mail address",
    RESET: "Set a new password",
}
_WISHES = {
    REGISTER: "somebody, hopefully you, wants an account with this e-mail address",
    ADD: "somebody, hopefully you, wants to add this e-mail address to an account",
    RESET: "somebody, hopefully you, has forgotten the password of your account",
}

_WITHOUT_MAILS = {
    REGISTER: (403, "M_THREEPID_DENIED"),
    ADD: (400, "M_THREEPID_MEDIUM_NOT_SUPPORTED"),
    RESET: (400, "M_THREEPID_NOT_FOUND"),
}


@frozen
class Request:
    """What a client asks with. `attempt`: the same one again sends no second mail."""

    purpose: str
    address: str
    secret: str = field(repr=False)
    attempt: int = 1
    next_link: str | None = None


@frozen
class Proven:
    """An address of whoever has session and secret."""

    sid: str
    medium: str
    address: str
    validated_ts: int


@frozen
class AddressValidation:
    """Asks, and hears the answers. `mailer` None: no mails are sent here."""

    database: Database
    server_name: str
    base_url: str
    mailer: Mailer | None
    clock: Clock = now_ms

    async def ask(self, request: Request) -> str:
        """Send a mail; gives the session's id. Raises M_INVALID_PARAM, M_THREEPID_DENIED, M_LIMIT_EXCEEDED."""
        if self.mailer is None:
            status, errcode = _WITHOUT_MAILS[request.purpose]
            raise MatrixError(status, errcode, "This server sends no mails")
        address = canonical_email(request.address)
        if address is None:
            raise invalid_param("This is no e-mail address")
        _check(request)
        token = secrets.token_urlsafe(32)
        async with self.database.transaction() as conn:
            owner = await rows.owner_of(conn, EMAIL, address)
            if owner is not None and request.purpose == ADD:  # [cs "POST /account/3pid/email/requestToken"]
                raise MatrixError(400, "M_THREEPID_IN_USE", "An account has this address")
            lately = await rows.mails_lately(conn, EMAIL, address, self.clock() - HOUR)
            sid, due = await rows.put_validation(conn, self._row(request, address, token))
        if not due:
            return sid
        if lately >= MAX_MAILS:
            raise limit_exceeded(HOUR)
        link = f"{self.base_url}{CONFIRM}?" + urlencode({"sid": sid, "token": token})
        subject, text = self._mail(request.purpose, link, known=owner is not None)
        await self.mailer.send(address, subject, text)
        return sid

    async def confirm(self, sid: str, token: str) -> Validation:
        """The link was opened. Raises M_UNKNOWN for what no mail of ours said, or not lately."""
        async with self.database.transaction() as conn:
            found = await rows.find_validation(conn, sid) if "\0" not in sid else None
            outdated = found is not None and self.clock() - found.created_ts > rows.DAY
            if found is None or outdated or found.token_hash != hash_token(token):
                raise MatrixError(400, "M_UNKNOWN", "This link is wrong, used up or too old")
            await rows.mark_validated(conn, sid, self.clock())
        return found

    async def proven(self, credentials: Mapping[str, object], purposes: tuple[str, ...]) -> Proven:
        """The address that a client proves, to be used up with `use_up`. Raises M_THREEPID_AUTH_FAILED."""
        sid, secret = credentials.get("sid"), credentials.get("client_secret")
        if not isinstance(sid, str) or not isinstance(secret, str) or "\0" in sid:
            raise MatrixError(400, "M_MISSING_PARAM", "sid and client_secret must be strings")
        async with self.database.read() as conn:
            found = await rows.find_validation(conn, sid)
        good = found is not None and found.purpose in purposes and found.secret_hash == hash_token(secret)
        if found is None or not good or found.validated_ts is None:
            raise MatrixError(400, "M_THREEPID_AUTH_FAILED", "The address has not been confirmed yet")
        return Proven(found.sid, found.medium, found.address, found.validated_ts)

    async def use_up(self, proven: Proven) -> None:
        """What was proved has been used. Raises M_THREEPID_AUTH_FAILED where it was before."""
        async with self.database.writer() as conn:
            if not await rows.end_validation(conn, proven.sid):
                raise MatrixError(400, "M_THREEPID_AUTH_FAILED", "This confirmation has been used already")

    def _row(self, request: Request, address: str, token: str) -> Validation:
        return Validation(
            sid=secrets.token_hex(16),
            created_ts=self.clock(),
            validated_ts=None,
            send_attempt=request.attempt,
            secret_hash=hash_token(request.secret),
            token_hash=hash_token(token),
            purpose=request.purpose,
            medium=EMAIL,
            address=address,
            next_link=request.next_link,
        )

    def _mail(self, purpose: str, link: str, *, known: bool) -> tuple[str, str]:
        """Subject and text."""
        greeting = f"Hello,\n\n{_WISHES[purpose]} on {self.server_name}.\n\n"
        ending = "\n\nIf it was not you, nothing needs to be done.\n"
        if purpose == RESET and not known:
            return _SUBJECTS[RESET], greeting + "But no account there has this address." + ending
        if purpose != RESET and known:
            text = "But it belongs to an account there already. If that is yours, log in, or ask for a new password."
            return "Your e-mail address", greeting + text + ending
        return _SUBJECTS[purpose], f"{greeting}If it was you, open this link to go on:\n\n{link}{ending}"


def _check(request: Request) -> None:
    if not is_client_secret(request.secret):
        raise invalid_param("client_secret must be 1 to 255 of the characters 0-9a-zA-Z.=_-")
    if request.attempt < 0:
        raise invalid_param("send_attempt must not be negative")
    link = request.next_link
    if link is not None and not _is_link(link):
        raise invalid_param("next_link must be an http or https URL")


def _is_link(text: str) -> bool:
    plain = text.isascii() and text.isprintable() and " " not in text
    return plain and len(text) <= MAX_LINK and text.startswith(("http://", "https://"))
