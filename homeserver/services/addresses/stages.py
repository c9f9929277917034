"""Stages of authentication that need more than a password: an e-mail address, the terms, being human."""

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import frozen

from homeserver.core.errors import MatrixError, forbidden, missing_param
from homeserver.services.addresses.validation import REGISTER, RESET, AddressValidation
from homeserver.services.interactive_auth import Ask, JSONObject
from storage.addresses import owner_of

EMAIL_IDENTITY = "m.login.email.identity"
TERMS = "m.login.terms"
RECAPTCHA = "m.login.recaptcha"
REGISTERING = "register"  # the purpose of asks for new accounts


@frozen
class EmailStage:
    """[cs "Email-based (identity / homeserver)"]: an address that the client has confirmed.

    For a new account it must be nobody's; for all else it says whose account it is.
    """

    validation: AddressValidation
    type: str = EMAIL_IDENTITY

    def params(self) -> JSONObject:
        return {}

    async def complete(self, auth: JSONObject, ask: Ask) -> JSONObject:
        """The session is used up here: what it proved is remembered by the authentication."""
        credentials: Any = auth.get("threepid_creds", auth.get("threepidCreds"))
        if not isinstance(credentials, dict):
            raise missing_param("threepid_creds")
        registers = ask.purpose == REGISTERING
        proven = await self.validation.proven(credentials, (REGISTER,) if registers else (RESET,))
        async with self.validation.database.read() as conn:
            owner = await owner_of(conn, proven.medium, proven.address)
        if registers and owner is not None:
            raise MatrixError(400, "M_THREEPID_IN_USE", "Another account has this address")
        if not registers and (owner is None or ask.user_id not in (None, owner)):
            raise forbidden("This is not the address of the account")
        await self.validation.use_up(proven)
        facts = {"medium": proven.medium, "address": proven.address, "validated_ts": proven.validated_ts}
        return {EMAIL_IDENTITY: facts} if registers else {"user_id": owner}


@frozen
class TermsStage:
    """[cs "Terms of service at registration"]: the client has shown the terms, and its user has agreed."""

    name: str
    version: str
    url: str
    type: str = TERMS

    def params(self) -> JSONObject:
        return {"policies": {"terms": {"version": self.version, "en": {"name": self.name, "url": self.url}}}}

    async def complete(self, auth: JSONObject, ask: Ask) -> JSONObject:
        """Saying so is all."""
        return {TERMS: self.version}


VerifyCaptcha = Callable[[str, str], Awaitable[bool]]


@frozen
class CaptchaStage:
    """[cs "Google ReCaptcha"]: `verify` asks whether an answer is a human's, from an address."""

    public_key: str
    verify: VerifyCaptcha
    type: str = RECAPTCHA

    def params(self) -> JSONObject:
        return {"public_key": self.public_key}

    async def complete(self, auth: JSONObject, ask: Ask) -> JSONObject:
        response = auth.get("response")
        if not isinstance(response, str) or not response:
            raise missing_param("response")
        if not await self.verify(response, ask.client_ip):
            raise forbidden("The captcha was not solved")
        return {}
