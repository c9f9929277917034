"""A name for each request, to find it again in the logs."""

import itertools
import secrets
from contextvars import ContextVar

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")

_prefix = secrets.token_hex(3)  # tells processes and restarts apart
_numbers = itertools.count(1)


def next_request_id() -> str:
    """A new id, which is also the current one for everything this request does."""
    request_id = f"{_prefix}-{next(_numbers):x}"
    REQUEST_ID.set(request_id)
    return request_id
