"""Errors become answers: the caller learns what the specification says, the log learns the cause."""

import math
from collections.abc import Mapping

from homeserver.core.errors import MatrixError
from homeserver.web.reply import Reply

Faults = Mapping[type[Exception], MatrixError]


def error_reply(error: MatrixError) -> Reply:
    """[cs "Standard error response"]"""
    headers: dict[str, str] = {}
    retry_after_ms = error.extra.get("retry_after_ms")
    if retry_after_ms is not None:
        headers["Retry-After"] = str(math.ceil(retry_after_ms / 1000))  # since v1.10 [cs "Rate limiting"]
    # A first step of interactive authentication is a 401 that names no error.
    named = {"errcode": error.errcode, "error": error.message} if error.errcode else {}
    return Reply(error.status, {**named, **error.extra}, headers)


def known_fault(error: Exception, faults: Faults) -> MatrixError | None:
    """What to tell the caller about a foreign exception that the assembly knows a meaning for."""
    return next((faults[kind] for kind in type(error).__mro__ if kind in faults), None)


def internal_error(request_id: str) -> MatrixError:
    """For surprises: nothing but a name to find the traceback by."""
    return MatrixError(500, "M_UNKNOWN", f"Internal server error (request {request_id})")


def stopping() -> MatrixError:
    """For those who wait while the server stops: any client simply asks again."""
    return MatrixError(503, "M_UNKNOWN", "The server is restarting", {"retry_after_ms": 2000})
