"""An endpoint as data: what is asked, who may ask it, and how it is guarded.

The one wrapper in `dispatch` reads this data; a handler never repeats it. Paths are written as in the
specification: "/v3/rooms/{roomId}/send/{eventType}/{txnId}" stands below /_matrix/client, and any other path
("/_matrix/key/v2/server", "/.well-known/matrix/client", "/health") is a full one.
"""

import re
from collections.abc import Awaitable, Callable, Iterator
from enum import Enum, auto

from attrs import field, frozen

from homeserver.web.call import Call
from homeserver.web.reply import Result

Handler = Callable[[Call], Awaitable[Result]]

CLIENT_PREFIX = "/_matrix/client"
VERSION_ALIASES = {"v3": ("v3", "r0")}  # v3 continues r0 under a new name [cs "API Versioning"]
_VERSIONED = re.compile(r"/(r0|v\d+|unstable)(/.*)")


class Auth(Enum):
    """Who may call an endpoint."""

    NONE = auto()  # anyone; a token is not even looked at
    OPTIONAL = auto()  # anyone; a token that is sent must be good
    USER = auto()  # an account that is not a guest
    GUEST_OK = auto()  # any account [cs "Guest Access"]
    ADMIN = auto()  # an account that administers this server
    SERVICE_OR_NONE = auto()  # anyone; an application service is known by its token, whoever it speaks for
    SERVER = auto()  # another homeserver [ss "Request Authentication"]


@frozen
class Endpoint:
    """One method of one path, its handler, and what must hold before the handler runs."""

    method: str
    path: str
    handler: Handler
    auth: Auth = field(default=Auth.USER, kw_only=True)
    rate: str | None = field(default=None, kw_only=True)  # the action that the rate limiter counts
    also: tuple[str, ...] = field(default=(), kw_only=True)  # further paths, written like `path`
    max_body: int | None = field(default=None, kw_only=True)  # bytes after decompression; None: as configured
    empty_body: bool = field(default=False, kw_only=True)  # no body at all means {}
    long_poll: bool = field(default=False, kw_only=True)  # waits; cancelled when the client goes away
    suspended: bool = field(
        default=True, kw_only=True
    )  # open to suspended accounts [cs "Account suspension"]
    stream: bool = field(default=False, kw_only=True)  # the handler reads the body itself, in chunks

    def full_paths(self) -> Iterator[str]:
        """Every path this endpoint answers at, aliases of versions included."""
        for path in (self.path, *self.also):
            yield from _full_paths(path)

    @property
    def is_public(self) -> bool:
        """Is it Matrix, or only for the operator, as metrics are?"""
        return all(path.startswith(("/_matrix/", "/.well-known/")) for path in self.full_paths())


def _full_paths(path: str) -> Iterator[str]:
    versioned = _VERSIONED.fullmatch(path)
    if versioned is None:
        yield path
        return
    version, rest = versioned.groups()
    for alias in VERSION_ALIASES.get(version, (version,)):
        yield f"{CLIENT_PREFIX}/{alias}{rest}"
