"""Paths that name a user whom only that user may use."""

from homeserver.core.errors import forbidden
from homeserver.web.call import Call


def own(call: Call, message: str) -> None:
    """M_FORBIDDEN unless the user of the path is the one who asks."""
    if call.path["userId"] != call.requester.user_id:
        raise forbidden(message)
