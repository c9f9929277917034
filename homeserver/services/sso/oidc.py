"""Single sign-on by OpenID Connect: authorization code with PKCE, the id token checked [OpenID Connect Core 3.1]."""

import hashlib
import hmac
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from time import monotonic
from typing import Any
from urllib.parse import quote_plus, urlencode

import orjson
import structlog
from attrs import define, field, frozen
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from homeserver.core.errors import forbidden
from homeserver.services.sso.asking import Asked, ask
from homeserver.services.sso.providers import Description, Person, Trip, unusable

log = structlog.get_logger(__name__)

CALLBACK = "/_matrix/homing/sso/callback"
# Signatures of the provider's own keys only: our secret is not for that, and "none" is no signature.
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
LEEWAY = 60  # seconds that clocks may differ
REMEMBERED = 3_600.0  # seconds for which its endpoints and keys are remembered
_AGAIN = 60.0  # seconds before its keys are asked for again because one is missing
_JSON = {"Accept": "application/json"}
_NEEDED = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")


@frozen
class OurClient:
    """What we are to the provider. Without a secret, a public client: PKCE alone protects the code."""

    client_id: str
    secret: str = field(default="", repr=False)
    scopes: tuple[str, ...] = ("openid", "profile")
    base_url: str = ""

    @property
    def callback(self) -> str:
        return self.base_url + CALLBACK


@frozen
class Discovered:
    """The provider's endpoints and keys, and when they were read."""

    document: Mapping[str, Any]
    keys: KeySet
    at: float


@define(eq=False)
class Oidc:
    """An OpenID Connect provider. Its userinfo endpoint is asked for `wanted` attributes that the token has not."""

    about: Description
    issuer: str
    us: OurClient
    wanted: tuple[str, ...] = ()
    _known: Discovered | None = field(default=None, init=False)

    def kept_as(self, trip: Trip) -> str:
        return trip.state

    async def way(self, trip: Trip) -> str:
        document = (await self._discovered()).document
        challenge = urlsafe_b64encode(hashlib.sha256(trip.verifier.encode()).digest()).decode().rstrip("=")
        asked = {
            "response_type": "code",
            "client_id": self.us.client_id,
            "redirect_uri": self.us.callback,
            "scope": " ".join(self.us.scopes),
            "state": trip.state,
            "nonce": trip.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **({"prompt": "login", "max_age": "0"} if trip.session else {}),
        }
        start = str(document["authorization_endpoint"])
        return f"{start}{'&' if '?' in start else '?'}{urlencode(asked)}"

    async def person(self, trip: Trip, said: Mapping[str, str]) -> Person:
        if not hmac.compare_digest(said.get("state", "").encode(), trip.state.encode()):
            raise forbidden("This is not the login that was started in this browser: please start again")
        if "error" in said or not said.get("code"):
            log.info(
                "a login was not completed", provider=self.about.id, why=said.get("error", "no code")[:100]
            )
            raise forbidden("The login service did not let you in: please start again")
        known = await self._discovered()
        self._check_sender(known, said)
        tokens = await self._tokens(known, trip, said["code"])
        claims = await self._claims(known, trip, str(tokens.get("id_token", "")))
        access = tokens.get("access_token")
        if isinstance(access, str) and any(name not in claims for name in self.wanted):
            claims = {**await self._userinfo(known, access, claims["sub"]), **claims}
        return Person(claims["sub"], claims)

    def _check_sender(self, known: Discovered, said: Mapping[str, str]) -> None:
        """Is the code of this provider, as far as it says so? Else another one would get to see it [RFC 9207 2.4]."""
        always = known.document.get("authorization_response_iss_parameter_supported") is True
        if said.get("iss", None if always else self.issuer) != self.issuer:
            log.warning("a login came back from another provider", provider=self.about.id)
            raise forbidden("This is not the login service that was asked: please start again")

    async def _tokens(self, known: Discovered, trip: Trip, code: str) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.us.callback,
            "code_verifier": trip.verifier,
        }
        headers = dict(_JSON)
        if self.us.secret:  # [RFC 6749 2.3.1]
            pair = f"{quote_plus(self.us.client_id)}:{quote_plus(self.us.secret)}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            form["client_id"] = self.us.client_id
        return _object(await ask(Asked("POST", str(known.document["token_endpoint"]), headers, form)))

    async def _claims(self, known: Discovered, trip: Trip, token: str) -> dict[str, Any]:
        """The id token's, if all is as it must be [OpenID Connect Core 3.1.3.7]."""
        try:
            try:
                decoded = jwt.decode(token, known.keys, algorithms=ALGORITHMS)
            except (JoseError, ValueError):  # signed by a newer key, perhaps
                if monotonic() - known.at < _AGAIN:
                    raise
                decoded = jwt.decode(token, (await self._discovered(anew=True)).keys, algorithms=ALGORITHMS)
            claims: dict[str, Any] = decoded.claims
            jwt.JWTClaimsRegistry(
                leeway=LEEWAY,
                iss={"essential": True, "value": self.issuer},
                aud={"essential": True, "value": self.us.client_id},
                exp={"essential": True},
                iat={"essential": True},
                sub={"essential": True},
                nonce={"essential": True, "value": trip.nonce},
                auth_time={"essential": bool(trip.session)},
            ).validate(claims)
            _check_party(claims, self.us.client_id)
        except (JoseError, ValueError, TypeError) as cause:
            log.warning("an id token was no good", provider=self.about.id, why=repr(cause))
            raise forbidden("The login service does not confirm who you are: please start again") from cause
        return claims

    async def _userinfo(self, known: Discovered, access: str, subject: str) -> dict[str, Any]:
        url = known.document.get("userinfo_endpoint")
        if not isinstance(url, str):
            return {}
        told = _object(await ask(Asked("GET", url, {**_JSON, "Authorization": f"Bearer {access}"})))
        if told.get("sub") != subject:  # [OpenID Connect Core 5.3.2]
            raise forbidden("The login service speaks of somebody else: please start again")
        return told

    async def _discovered(self, *, anew: bool = False) -> Discovered:
        known = self._known
        if known is not None and not anew and monotonic() - known.at < REMEMBERED:
            return known
        place = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
        document = _object(await ask(Asked("GET", place, _JSON)))
        if document.get("issuer") != self.issuer or any(
            not isinstance(document.get(name), str) for name in _NEEDED
        ):
            log.warning("an OpenID Connect provider does not say what is needed", issuer=self.issuer)
            raise unusable()
        keys = _keys(_object(await ask(Asked("GET", str(document["jwks_uri"]), _JSON))))
        self._known = known = Discovered(document, keys, monotonic())
        return known


def _check_party(claims: Mapping[str, Any], client_id: str) -> None:
    """A token for several is for us only if we asked for it."""
    audience, party = claims["aud"], claims.get("azp")
    several = isinstance(audience, list) and len(audience) > 1
    if (several or party is not None) and party != client_id:
        raise ValueError("asked for by another party")
    if not isinstance(claims["sub"], str) or not 0 < len(claims["sub"]) <= 255 or "\0" in claims["sub"]:
        raise ValueError("no subject")


def _keys(told: Mapping[str, Any]) -> KeySet:
    """Those that can be used for signatures; of other kinds there may be any."""
    found = []
    for key in told["keys"] if isinstance(told.get("keys"), list) else ():
        try:
            found += KeySet.import_key_set({"keys": [key]}).keys
        except (JoseError, ValueError, TypeError, KeyError, AttributeError) as cause:
            log.info("a key of a login service is of no use", why=repr(cause))
    return KeySet(found)


def _object(content: bytes) -> dict[str, Any]:
    try:
        told = orjson.loads(content)
    except orjson.JSONDecodeError as cause:
        raise unusable() from cause
    if not isinstance(told, dict):
        raise unusable()
    return told
