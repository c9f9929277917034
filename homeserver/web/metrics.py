"""What is counted about HTTP. Labels are endpoint patterns, never what a client sent."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

Key = tuple[str, str, int]  # method, pattern, status


class HttpMetrics:
    """The counters of one server, bound to their labels once and then found by one look-up."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "homing_http_requests", "Answers sent", ["method", "endpoint", "status"], registry=registry
        )
        self._seconds = Histogram(
            "homing_http_request_seconds",
            "Time from head to answer",
            ["method", "endpoint"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.surprises = Counter(
            "homing_http_surprises", "Requests that ended in an unexpected exception", registry=registry
        )
        self.running = 0
        running = Gauge(
            "homing_http_running", "Requests being answered, waiting syncs included", registry=registry
        )
        running.set_function(lambda: self.running)
        self.connected: Callable[[], int] = lambda: 0
        connections = Gauge("homing_http_connections", "Open client connections", registry=registry)
        connections.set_function(lambda: self.connected())
        self._bound: dict[Key, tuple[Counter, Histogram]] = {}

    def record(self, key: Key, seconds: float) -> None:
        """Count one answer."""
        bound = self._bound.get(key)
        if bound is None:
            bound = self._bound[key] = self._bind(*key)
        bound[0].inc()
        bound[1].observe(seconds)

    def _bind(self, method: str, pattern: str, status: int) -> tuple[Counter, Histogram]:
        return self._requests.labels(method, pattern, str(status)), self._seconds.labels(method, pattern)
