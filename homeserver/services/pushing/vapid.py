"""Says to web push services who we are, so that they take messages for those apps only that know us [RFC 8292]."""

from urllib.parse import urlsplit

import orjson
from attrs import field, frozen
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from homeserver.services.pushing.web_push_message import point_of, text_of

VALID = 12 * 3600  # seconds; 24 hours at most [RFC 8292 2]
_HEADER = text_of(orjson.dumps({"typ": "JWT", "alg": "ES256"}))


@frozen
class Vapid:
    """Our key, and where we can be reached: a URL of https: or mailto:."""

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    contact: str

    @property
    def public_key(self) -> str:
        """What apps are told before they subscribe."""
        return text_of(point_of(self.key.public_key()))

    def authorization(self, url: str, now: float) -> str:
        """The header for a request to this URL."""
        parts = urlsplit(url)
        claims = {"aud": f"{parts.scheme}://{parts.netloc}", "exp": int(now) + VALID, "sub": self.contact}
        signed = f"{_HEADER}.{text_of(orjson.dumps(claims))}"
        r, s = decode_dss_signature(self.key.sign(signed.encode(), ec.ECDSA(SHA256())))
        signature = text_of(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
        return f"vapid t={signed}.{signature}, k={self.public_key}"


def new_key() -> str:
    """A key as it is kept in a file."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def key_of(text: str) -> ec.EllipticCurvePrivateKey:
    """The key in a file. Raises ValueError."""
    key = load_pem_private_key(text.encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise ValueError("no key on the curve P-256")
    return key
