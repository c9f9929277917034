"""What requests that write into rooms have in common: when it was said, and that it is said once."""

from homeserver.services.growth import Once
from homeserver.services.now import now_ms
from homeserver.web.call import Call


def once(call: Call, kind: str) -> Once | None:
    """A transaction id counts for one device and one kind of request [cs "Transaction identifiers"].

    An application service's user without a device counts as one, under the user's number.
    """
    who, txn_id = call.requester, call.path.get("txnId")
    owner = who.device_nid if who.device_nid is not None else -who.user_nid
    return None if txn_id is None else Once(owner, kind + txn_id)


def timestamp(call: Call) -> int:
    """Now; application services may say when it was [cs "Timestamp massaging"]."""
    massaged = massaged_timestamp(call)
    return now_ms() if massaged is None else massaged


def massaged_timestamp(call: Call) -> int | None:
    """When it was, as an application service says."""
    return call.query.integer("ts", None, least=0) if call.requester.appservice is not None else None
