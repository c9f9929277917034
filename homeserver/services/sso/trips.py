"""A trip is kept by the browser that makes it, in a cookie that only we can read: nothing is stored for anybody."""

import hashlib
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode

import orjson
from attrs import asdict, evolve, field, frozen
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox
from signedjson.types import SigningKey

from homeserver.services.now import Clock, now_ms
from homeserver.services.sso.providers import Provider, Trip

LIFETIME = 15 * 60  # seconds
_COOKIE = "homing_sso_"
_PATH = "/_matrix"


def secret_from(key: SigningKey) -> bytes:
    """A secret of its own, which all processes of the server share."""
    return hashlib.blake2b(key.encode(), person=b"homing sso").digest()[:32]


@frozen
class Trips:
    """Seals them, and opens those that come back. `secure`: browsers reach us by https."""

    secret: bytes = field(repr=False)
    secure: bool
    clock: Clock = now_ms

    def begin(self, trip: Trip) -> Trip:
        """With new secrets."""
        return evolve(trip, state=secrets.token_urlsafe(24), verifier=secrets.token_urlsafe(48))

    async def set_out(self, provider: Provider, trip: Trip) -> tuple[str, str]:
        """Where the browser goes, and the Set-Cookie header by which it remembers why. Raises MatrixError."""
        trip = self.begin(trip)
        return await provider.way(trip), self.cookie(trip, provider.kept_as(trip))

    def cookie(self, trip: Trip, name: str) -> str:
        """A Set-Cookie header. Sent back when a page of the provider leads here, but with nothing that it embeds."""
        plain = orjson.dumps({**asdict(trip), "begun": self.clock()})
        value = urlsafe_b64encode(SecretBox(self.secret).encrypt(plain)).decode()
        secure = "; Secure" if self.secure else ""
        return f"{_COOKIE}{_short(name)}={value}; Max-Age={LIFETIME}; Path={_PATH}; HttpOnly; SameSite=Lax{secure}"

    def end(self, name: str) -> str:
        """The Set-Cookie header that takes it away."""
        return f"{_COOKIE}{_short(name)}=; Max-Age=0; Path={_PATH}; HttpOnly; SameSite=Lax"

    def find(self, cookies: str, name: str) -> Trip | None:
        """The trip that this browser began lately under this name, if it did."""
        wanted = _COOKIE + _short(name)
        for part in cookies.split(";"):
            key, _, value = part.strip().partition("=")
            if key == wanted:
                return self._opened(value)
        return None

    def _opened(self, value: str) -> Trip | None:
        try:
            told = orjson.loads(SecretBox(self.secret).decrypt(urlsafe_b64decode(value)))
        except (CryptoError, ValueError):
            return None
        begun = told.pop("begun")
        return Trip(**told) if self.clock() - begun < LIFETIME * 1000 else None


def _short(name: str) -> str:
    """Part of a cookie's name: a tab of its own for each trip."""
    return hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=6).hexdigest()
