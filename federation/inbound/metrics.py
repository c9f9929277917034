"""What is counted about what other servers send."""

from collections.abc import Callable

from attrs import define
from prometheus_client import CollectorRegistry, Counter, Gauge

from homeserver.core.receipt_checks import Accepted, Dropped, Rejected, Verdict

VERDICTS = ("accepted", "soft_failed", "rejected", "dropped", "refused", "unresolved")


@define(eq=False)
class InboundMetrics:
    """Counters of one server. EDU types are counted by name only where we know them."""

    pdus: Counter
    edus: Counter
    transactions: Counter
    waiting: Callable[[], int] = lambda: 0

    def judged(self, verdict: Verdict) -> None:
        """Count a PDU that is through."""
        self.pdus.labels(name_of(verdict)).inc()


def inbound_metrics(registry: CollectorRegistry) -> InboundMetrics:
    """The counters, registered."""
    metrics = InboundMetrics(
        Counter(
            "homing_federation_pdus",
            "PDUs that other servers sent, by verdict",
            ["verdict"],
            registry=registry,
        ),
        Counter(
            "homing_federation_edus", "EDUs that other servers sent", ["type", "outcome"], registry=registry
        ),
        Counter(
            "homing_federation_inbound_transactions", "Transactions received", ["outcome"], registry=registry
        ),
    )
    for verdict in VERDICTS:
        metrics.pdus.labels(verdict)
    gauge = Gauge("homing_federation_inbound_waiting", "PDUs on disk without a verdict", registry=registry)
    gauge.set_function(lambda: metrics.waiting())
    return metrics


def name_of(verdict: Verdict) -> str:
    """The verdict in one word."""
    if isinstance(verdict, Accepted):
        return "accepted"
    if isinstance(verdict, Rejected):
        return "rejected"
    return "dropped" if isinstance(verdict, Dropped) else "soft_failed"
