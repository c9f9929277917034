"""What a client is told when another server refuses, or cannot be asked."""

import re

from federation.own_events import BadAnswer
from federation.transport.requests import PeerFault, PeerRefused
from homeserver.core.errors import MatrixError, forbidden, not_found

MAX_TEXT = 300
# Of status 400, and our own affair rather than the user's or the room's.
OURS = frozenset(
    "M_BAD_JSON M_INVALID_PARAM M_MISSING_PARAM M_MISSING_TOKEN M_NOT_JSON M_UNAUTHORIZED M_UNKNOWN"
    " M_UNKNOWN_TOKEN M_UNRECOGNIZED M_USER_DEACTIVATED M_USER_LOCKED M_USER_SUSPENDED".split()
)
_ERRCODE = re.compile(r"[A-Z][A-Z0-9_.]{1,99}")


def for_client(fault: PeerFault | BadAnswer) -> MatrixError:
    """The error for a client on whose behalf the server was asked.

    A server that cannot be found is not told apart from one that is down; neither is the client's or our fault.
    """
    if not isinstance(fault, PeerRefused):
        return not_found("No server that could help was reached, or none gave a usable answer")
    said = fault.error[:MAX_TEXT] or "the other server gives no reason"
    if fault.status == 400 and fault.errcode not in OURS and _ERRCODE.fullmatch(fault.errcode):
        return MatrixError(400, fault.errcode, said, _room_version(fault))
    if fault.errcode == "M_INVITE_BLOCKED":
        return MatrixError(403, fault.errcode, said)
    if fault.status in (401, 403):
        return forbidden(said)
    if fault.status == 404:
        return not_found(said)
    return MatrixError(502, "M_UNKNOWN", f"The other server could not do it: {said}")


def _room_version(fault: PeerRefused) -> dict[str, str]:
    """That of the room which we cannot enter [cs "Other error codes"]."""
    version = fault.body.get("room_version")
    return {"room_version": version} if isinstance(version, str) else {}
