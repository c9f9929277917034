"""The Authorization header by which servers sign their requests [ss "Request Authentication"].

Reading is liberal where the specification asks for it (any order, any case of names, blanks around commas, colons
without quotes), writing is the narrow form that every server reads. A request is signed over a JSON object that has
its content inside; as `content` sorts before the object's other names, the bytes of the body are spliced in.
"""

import re

from attrs import field, frozen
from signedjson.types import SigningKey, VerifyKey

from homeserver.core import canonical_json
from homeserver.core.hashing import unpadded
from homeserver.core.ids import is_server_name
from homeserver.core.signing import signature_verifies

SCHEME = "X-Matrix"
MAX_HEADER = 4096  # bytes; a full one has about 700

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # [RFC 9110 section 5.6.2]
_UNQUOTED = r"[!#$%&'*+.^_`|~0-9A-Za-z:-]+"  # COMPAT(older servers: colons without quotes)
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_PARAMETER = re.compile(
    rf"({_TOKEN})[ \t]*=[ \t]*({_QUOTED}|{_UNQUOTED})[ \t]*(?:,|\Z)", re.ASCII | re.DOTALL
)
_GAP = re.compile(r"[ \t,]*")  # a list may have empty elements [RFC 9110 section 5.6.1]
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_KEY_ID = re.compile(r"[a-z0-9]{1,32}:[A-Za-z0-9_]{1,200}", re.ASCII)


class InvalidHeader(ValueError):
    """The Authorization header is none of a server; the message says why."""


class NoServerName(InvalidHeader):
    """The origin could not be anybody's name."""


@frozen
class XMatrix:
    """What the header says. `destination` is None where an older server has left it out."""

    origin: str
    key_id: str
    signature: str
    destination: str | None = None

    def is_meant_for(self, server_name: str) -> bool:
        """Is the request ours to answer? If not, the answer is 401 [ss "Request Authentication"]."""
        return self.destination is None or self.destination == server_name


@frozen
class SignedRequest:
    """A request as its signature sees it, with the server names from before any delegation.

    `uri` is path and query exactly as on the wire; `content` the bytes of the body, None where there is none.
    """

    method: str
    uri: str
    origin: str
    destination: str
    content: bytes | None = field(default=None, repr=False)


def is_key_id(text: str) -> bool:
    """Is `text` an algorithm and a version, as in ed25519:a_1 [ss "Publishing Keys"]?"""
    return _KEY_ID.fullmatch(text) is not None


def parse(header: str) -> XMatrix:
    """Read the header, or raise InvalidHeader."""
    if len(header) > MAX_HEADER:
        raise InvalidHeader("the header is too long")
    scheme, _, rest = header.partition(" ")
    if scheme.lower() != SCHEME.lower():  # schemes are case-insensitive [RFC 9110 section 11.1]
        raise InvalidHeader("the scheme is not X-Matrix")
    said = _parameters(rest)
    origin = _required(said, "origin")
    key_id = _required(said, "key")
    # The specification's examples call it "sig", its list of parameters "signature".
    signature = _required(said, "sig" if "sig" in said else "signature")
    destination = said.get("destination")
    if not is_server_name(origin):
        raise NoServerName("the origin is not a server name")
    if destination is not None and not is_server_name(destination):
        raise InvalidHeader("the destination is not a server name")
    if not is_key_id(key_id):
        raise InvalidHeader("the key is not a key id")
    return XMatrix(origin, key_id, signature, destination)


def build(header: XMatrix) -> str:
    """The header in the form that older servers read too: one blank, lower case, quotes, no backslash."""
    parts = {
        "origin": header.origin,
        "destination": header.destination,  # MUST always be sent, since 1.3
        "key": header.key_id,
        "sig": header.signature,
    }
    return f"{SCHEME} " + ",".join(f'{name}="{value}"' for name, value in parts.items() if value is not None)


def sign(request: SignedRequest, key: SigningKey) -> XMatrix:
    """Sign a request of ours, whose content must be canonical JSON."""
    signature = unpadded(key.sign(_splice(request, request.content)).signature)
    return XMatrix(request.origin, f"{key.alg}:{key.version}", signature, request.destination)


def signature_holds(request: SignedRequest, signature: str, key: VerifyKey) -> bool:
    """Has the origin signed this request with `key`? Never raises, whatever the request holds.

    Most servers send the canonical bytes that they have signed: those are tried first, which spares parsing them.
    Nothing is won by content that is no JSON value: the signed text would have to end like a request of the origin to
    us. What the content holds is for the handler to parse.
    """
    try:
        if signature_verifies(_splice(request, request.content), signature, key):
            return True
        if request.content is None:
            return False
        # Floats may stand in events of rooms before version 6.
        canonical = canonical_json.encode_lenient(canonical_json.decode_lenient(request.content))
        if canonical == request.content:
            return False
        return signature_verifies(_splice(request, canonical), signature, key)
    except canonical_json.NotCanonical:
        return False


def _splice(request: SignedRequest, content: bytes | None) -> bytes:
    """The canonical JSON of the request object, step 1 of [ss "Request Authentication"]."""
    rest = canonical_json.encode(
        {
            "destination": request.destination,
            "method": request.method,
            "origin": request.origin,
            "uri": request.uri,
        }
    )
    return rest if content is None else b'{"content":' + content + b"," + rest[1:]


def _parameters(text: str) -> dict[str, str]:
    """Name=value pairs between commas; names in lower case, values without quotes and backslashes."""
    found: dict[str, str] = {}
    position = _end_of_gap(text, 0)
    while position < len(text):
        match = _PARAMETER.match(text, position)
        if match is None:
            raise InvalidHeader("the parameters are not name=value pairs between commas")
        name, value = match[1].lower(), match[2]
        if name in found:
            raise InvalidHeader(f"two parameters are called {name}")  # [RFC 9110 section 11.2]
        found[name] = _ESCAPED.sub(r"\1", value[1:-1]) if value[0] == '"' else value
        position = _end_of_gap(text, match.end())
    return found


def _end_of_gap(text: str, position: int) -> int:
    match = _GAP.match(text, position)
    return match.end() if match else position


def _required(said: dict[str, str], name: str) -> str:
    if not said.get(name):
        raise InvalidHeader(f"the parameter {name} is missing")
    return said[name]
