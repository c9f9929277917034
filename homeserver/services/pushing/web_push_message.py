"""Encrypts a message for one app of a web push service, which sees nothing of it [RFC 8291] [RFC 8188].

Both sides agree on a key by Diffie-Hellman with a key pair that is made for this message alone, and by the secret that
only the app and we have. One record holds the whole message.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NoBase64

from attrs import field, frozen
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

MAX_MESSAGE = (
    3993  # bytes: what services must take is 4096 with the header, the delimiter and the tag [RFC 8030 7.2]
)
_RECORD = 4096
_POINT, _SECRET, _SALT = 65, 16, 16
_CURVE = ec.SECP256R1()


@frozen
class Subscription:
    """Keys of an app: its public one, and the secret it shares with us."""

    public_key: ec.EllipticCurvePublicKey
    secret: bytes = field(repr=False)


@frozen
class Ephemeral:
    """What is made anew for each message."""

    key: ec.EllipticCurvePrivateKey = field(factory=lambda: ec.generate_private_key(_CURVE), repr=False)
    salt: bytes = field(factory=lambda: AESGCM.generate_key(8 * _SALT), repr=False)


def subscription(public_key: str, secret: str) -> Subscription:
    """From what an app tells, in URL-safe Base64 without padding. Raises ValueError."""
    point, shared = _bytes(public_key), _bytes(secret)
    if len(point) != _POINT or len(shared) != _SECRET:
        raise ValueError("wrong lengths")
    return Subscription(ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, point), shared)


def encrypted(message: bytes, to: Subscription, once: Ephemeral) -> bytes:
    """The body of the request to the push service."""
    ours, theirs = point_of(once.key.public_key()), point_of(to.public_key)
    agreed = once.key.exchange(ec.ECDH(), to.public_key)
    keying = _derived(agreed, to.secret, b"WebPush: info\0" + theirs + ours, 32)  # [RFC 8291 3.3]
    key = _derived(keying, once.salt, b"Content-Encoding: aes128gcm\0", 16)  # [RFC 8188 2.2]
    nonce = _derived(keying, once.salt, b"Content-Encoding: nonce\0", 12)  # [RFC 8188 2.3]
    header = once.salt + _RECORD.to_bytes(4, "big") + bytes([len(ours)]) + ours  # [RFC 8188 2.1]
    return header + AESGCM(key).encrypt(nonce, message + b"\2", None)  # 2: the last record


def point_of(key: ec.EllipticCurvePublicKey) -> bytes:
    """A public key in the uncompressed form."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def text_of(value: bytes) -> str:
    """URL-safe Base64 without padding."""
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (NoBase64, UnicodeEncodeError) as cause:
        raise ValueError("no Base64") from cause


def _derived(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(secret)
