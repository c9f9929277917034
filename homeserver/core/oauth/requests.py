"""What a client asks a user for, and how the user's browser goes back to it [cs "Authorisation code flow"]."""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from urllib.parse import urlencode

from attrs import frozen

from homeserver.core.oauth.clients import CODE, ClientMetadata
from homeserver.core.oauth.errors import OAuthError

API = "urn:matrix:client:api:*"
DEVICE = "urn:matrix:client:device:"
_UNSTABLE = "urn:matrix:org.matrix.msc2967.client:"  # how clients asked before v1.15
_DEVICE_ID = re.compile(r"[A-Za-z0-9._~-]{6,255}", re.ASCII)
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}", re.ASCII)
_MODES = ("query", "fragment")
MAX_STATE = 4096


@frozen(kw_only=True)
class AuthorizationRequest:
    """A request that can be put to a user."""

    redirect_uri: str
    state: str | None
    mode: str
    scope: str
    device_id: str
    challenge: str
    create: bool  # the user wants a new account

    def answer(self, values: Mapping[str, str]) -> str:
        """The URI that takes these values to the client."""
        return callback(self.redirect_uri, self.mode, self.state, values)


@frozen
class Return:
    """How to tell a client that its request is refused."""

    redirect_uri: str
    mode: str
    state: str | None

    def refusal(self, error: OAuthError) -> str:
        """The URI that takes the error to the client."""
        values = {"error": error.code, "error_description": error.description}
        return callback(self.redirect_uri, self.mode, self.state, values)


def way_back(asked: Mapping[str, str], client: ClientMetadata) -> Return:
    """Where answers go. Raises OAuthError: then there is nobody to tell but the user [RFC 6749 section 4.1.2.1]."""
    uri = asked.get("redirect_uri", "")
    if not client.accepts(uri):
        raise OAuthError(
            "invalid_request", "The application did not register the address that it wants to be told at"
        )
    mode = asked.get("response_mode", "query")
    return Return(uri, mode if mode in _MODES else "query", asked.get("state"))


def authorization_request(asked: Mapping[str, str], client: ClientMetadata) -> AuthorizationRequest:
    """What the client asks for, with all that it must say. Raises OAuthError."""
    back = way_back(asked, client)
    if asked.get("response_type") != "code":
        raise OAuthError("unsupported_response_type", "response_type must be code")
    if CODE not in client.grant_types or not client.response_types:
        raise OAuthError(
            "unauthorized_client", "This client did not register for the authorization code grant"
        )
    if asked.get("response_mode", "query") not in _MODES:
        raise OAuthError("invalid_request", "response_mode must be query or fragment")
    if asked.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(
        asked.get("code_challenge", "")
    ):
        raise OAuthError("invalid_request", "A code_challenge of the method S256 is required")  # [RFC 7636]
    if len(back.state or "") > MAX_STATE:
        raise OAuthError("invalid_request", "state is too long")
    scope, device_id = granted_scope(asked.get("scope", ""))
    return AuthorizationRequest(
        redirect_uri=back.redirect_uri,
        state=back.state,
        mode=back.mode,
        scope=scope,
        device_id=device_id,
        challenge=asked["code_challenge"],
        create=asked.get("prompt") == "create",
    )


def granted_scope(asked: str) -> tuple[str, str]:
    """The scope that is granted, as it was asked for, and its device [cs "Scope"]. Raises OAuthError.

    Tokens of no meaning here (openid, say) are left out [RFC 6749 section 3.3].
    """
    tokens = {token: token.replace(_UNSTABLE, "urn:matrix:client:", 1) for token in asked.split(" ")}
    devices = [meaning.removeprefix(DEVICE) for meaning in tokens.values() if meaning.startswith(DEVICE)]
    if API not in tokens.values() or len(devices) != 1:
        raise OAuthError("invalid_scope", f"The scope must be {API} and one {DEVICE}…")
    if not _DEVICE_ID.fullmatch(devices[0]):
        raise OAuthError("invalid_scope", "A device id has 6 to 255 of the characters A-Z a-z 0-9 - . _ ~")
    granted = (token for token, meaning in tokens.items() if meaning == API or meaning.startswith(DEVICE))
    return " ".join(granted), devices[0]


def callback(redirect_uri: str, mode: str, state: str | None, values: Mapping[str, str]) -> str:
    """The redirect URI with an answer in it [cs "Authorisation code flow"]."""
    told = urlencode({**({} if state is None else {"state": state}), **values})
    if mode == "fragment":
        return f"{redirect_uri}#{told}"
    return f"{redirect_uri}{'&' if '?' in redirect_uri else '?'}{told}"


def verifies(verifier: str, challenge: str) -> bool:
    """Is this what the challenge was made of? [RFC 7636 section 4.6]"""
    if not _VERIFIER.fullmatch(verifier):
        return False
    made = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    return hmac.compare_digest(made, challenge)
