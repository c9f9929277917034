"""What is counted about federation. Labels are few and fixed: never a server name."""

from prometheus_client import CollectorRegistry, Counter


class FederationMetrics:
    """The counters of one server."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "homing_federation_requests",
            "Requests between servers, by direction (out: ours to others) and outcome",
            ["direction", "outcome"],
            registry=registry,
        )

    def count(self, direction: str, outcome: str) -> None:
        """One request has ended."""
        self._requests.labels(direction, outcome).inc()
