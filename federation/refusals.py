"""What a client is told when another server refuses, or cannot be asked."""

from federation.own_events import BadAnswer
from federation.transport.requests import PeerFault, PeerRefused
from homeserver.core.errors import MatrixError, forbidden, not_found

MAX_TEXT = 300
# Of status 400, and the user's or the room's affair rather than ours [ss "PUT /_matrix/federation/v2/send_join"].
PASSED_ON = {
    "M_INCOMPATIBLE_ROOM_VERSION": "M_UNSUPPORTED_ROOM_VERSION",
    "M_UNSUPPORTED_ROOM_VERSION": "M_UNSUPPORTED_ROOM_VERSION",
    "M_UNABLE_TO_AUTHORISE_JOIN": "M_UNABLE_TO_AUTHORISE_JOIN",
    "M_UNABLE_TO_GRANT_JOIN": "M_UNABLE_TO_GRANT_JOIN",
}


def for_client(fault: PeerFault | BadAnswer) -> MatrixError:
    """The error for a client on whose behalf the server was asked.

    A server that cannot be found is not told apart from one that is down; neither is the client's or our fault.
    """
    if not isinstance(fault, PeerRefused):
        return not_found("No server that could help was reached, or none gave a usable answer")
    said = fault.error[:MAX_TEXT] or "the other server gives no reason"
    if fault.errcode in PASSED_ON:
        return MatrixError(400, PASSED_ON[fault.errcode], said)
    if fault.errcode == "M_INVITE_BLOCKED":
        return MatrixError(403, fault.errcode, said)
    if fault.status in (401, 403):
        return forbidden(said)
    if fault.status == 404:
        return not_found(said)
    return MatrixError(502, "M_UNKNOWN", f"The other server could not do it: {said}")
