"""What a caller is told when something is refused, and nothing more than that.

The operator's half of the story travels in ``raise … from cause`` and in the log. The names and codes
are the specification's [cs "Standard error response"]; only `homeserver.web` turns these into HTTP.
"""

from collections.abc import Mapping
from typing import Any

from attrs import define, field


@define(eq=False)
class MatrixError(Exception):
    """A refusal with its HTTP-free meaning: `status` is the specification's number, not a transport's.

    `message` is for people using a client: helpful, and free of internals. `extra` joins the JSON body.
    """

    status: int
    errcode: str
    message: str
    extra: Mapping[str, Any] = field(factory=dict)

    def __str__(self) -> str:
        return f"{self.errcode}: {self.message}"


def forbidden(message: str) -> MatrixError:
    """The requester lacks the right: 403 M_FORBIDDEN."""
    return MatrixError(403, "M_FORBIDDEN", message)


def not_found(message: str) -> MatrixError:
    """No such thing, or none the requester may know of: 404 M_NOT_FOUND."""
    return MatrixError(404, "M_NOT_FOUND", message)


def unrecognized(message: str = "Unrecognized request", *, status: int = 404) -> MatrixError:
    """The server knows no such endpoint (404) or no such method on it (405): M_UNRECOGNIZED."""
    return MatrixError(status, "M_UNRECOGNIZED", message)


def bad_json(message: str) -> MatrixError:
    """Well-formed JSON of the wrong shape: 400 M_BAD_JSON."""
    return MatrixError(400, "M_BAD_JSON", message)


def not_json(message: str = "The request body is not valid JSON") -> MatrixError:
    """Not JSON at all: 400 M_NOT_JSON."""
    return MatrixError(400, "M_NOT_JSON", message)


def missing_param(name: str) -> MatrixError:
    """A required parameter is absent: 400 M_MISSING_PARAM."""
    return MatrixError(400, "M_MISSING_PARAM", f"Missing parameter: {name}")


def invalid_param(message: str) -> MatrixError:
    """A parameter has a value that cannot be used: 400 M_INVALID_PARAM."""
    return MatrixError(400, "M_INVALID_PARAM", message)


def too_large(message: str) -> MatrixError:
    """The event or the body exceeds a limit: 413 M_TOO_LARGE."""
    return MatrixError(413, "M_TOO_LARGE", message)


def unknown_token(message: str, *, soft_logout: bool = False) -> MatrixError:
    """The access token is not (or no longer) known: 401 M_UNKNOWN_TOKEN [cs "Soft logout"]."""
    return MatrixError(401, "M_UNKNOWN_TOKEN", message, {"soft_logout": soft_logout})


def user_suspended() -> MatrixError:
    """The account may only be used for a few things: 403 M_USER_SUSPENDED [cs "Account suspension"]."""
    return MatrixError(403, "M_USER_SUSPENDED", "You cannot do this while your account is suspended")


def limit_exceeded(retry_after_ms: int) -> MatrixError:
    """Too many requests: 429 M_LIMIT_EXCEEDED; the web layer adds Retry-After [cs "Rate limiting"]."""
    return MatrixError(429, "M_LIMIT_EXCEEDED", "Too many requests", {"retry_after_ms": retry_after_ms})
