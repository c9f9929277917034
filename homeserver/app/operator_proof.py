"""How a command on the server's own machine proves to the running server that it may read its secret."""

import hashlib
import hmac
import re

HEADER = "X-Homing-Operator"
GOOD_FOR = 60_000  # ms

_PROOF = re.compile(r"(\d{1,16})\.([0-9a-f]{64})", re.ASCII)


def prove(secret: str, method: str, target: str, now: int) -> str:
    """The header's value for one request; `target` is its path and query."""
    return f"{now}.{_mac(secret, method, target, now)}"


def holds(secret: str, proof: str, *, method: str, target: str, now: int) -> bool:
    """Was it made for this request, lately, by somebody with the secret?"""
    match = _PROOF.fullmatch(proof)
    if match is None:
        return False
    made = int(match[1])
    genuine = hmac.compare_digest(_mac(secret, method, target, made), match[2])
    return genuine and abs(now - made) <= GOOD_FOR


def _mac(secret: str, method: str, target: str, made: int) -> str:
    return hmac.new(secret.encode(), f"{method}\n{target}\n{made}".encode(), hashlib.sha256).hexdigest()
