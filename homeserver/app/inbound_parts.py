"""What other servers send: how transactions, the work on PDUs and the EDUs' handlers are connected."""

from prometheus_client import CollectorRegistry

from federation.early_presence import EarlyPresence
from federation.edus import AllAtOnce, EduHandler, Edus, Handlers
from federation.ephemeral import PresenceEdus, ReceiptEdus, TypingEdus
from federation.gap_queue import GapQueue
from federation.inbound.backlog import Backlog
from federation.inbound.metrics import inbound_metrics
from federation.inbound.transactions import Incoming, TransactionsApi
from federation.ledger import Ledger
from federation.receive import Receiver
from federation.withdrawals import Withdrawals
from homeserver.app.federation_parts import FederationParts
from homeserver.app.foundation import Foundation
from homeserver.app.membership_parts import Federating
from homeserver.app.sync_parts import SyncParts
from homeserver.services.after_commit import Listener
from homeserver.services.remote_rooms import RemoteRooms


def inbound_parts(
    foundation: Foundation,
    parts: Federating,
    handlers: Handlers,
    registry: CollectorRegistry,
) -> FederationParts:
    """Everything from PUT /send to the verdicts. `handlers` take the EDUs, each the type it stands under."""
    metrics, backlog = inbound_metrics(registry), Backlog()
    metrics.waiting = lambda: backlog.total
    ledger = Ledger(foundation.database, foundation.reader.rooms, backlog, metrics)
    check = parts.checks.check
    receiver = Receiver(check, parts.gaps.arrivals, ledger, GapQueue(parts.gaps, ledger))
    outsider = Withdrawals(check, RemoteRooms(foundation.timeline.writing, foundation.timeline.push))
    edus = Edus(handlers, metrics)
    incoming = Incoming(parts.admission, edus, outsider, backlog, metrics, receiver.arrived)
    return FederationParts(TransactionsApi(incoming).endpoints(), {"inbound PDUs": receiver.run})


def ephemeral_handlers(
    parts: Federating, sync: SyncParts, followers: list[Listener]
) -> dict[str, EduHandler | AllAtOnce]:
    """What passes by: who types, has read, is online."""
    presences = EarlyPresence(sync.presences, sync.presences.background)
    followers.append(presences)
    return {
        "m.typing": TypingEdus(parts.admission, sync.typing),
        "m.receipt": AllAtOnce(ReceiptEdus(parts.admission, sync.receipts)),
        "m.presence": PresenceEdus(presences),
    }
