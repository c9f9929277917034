"""Numbers for monitoring, in Prometheus's text form.

Every layer makes its own counters with prometheus_client; this module adds what only the whole process knows,
and renders all of them.
"""

from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Gauge, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST


def watch(
    name: str, documentation: str, read: Callable[[], float], *, registry: CollectorRegistry = REGISTRY
) -> None:
    """A number that is asked for whenever somebody looks: queue lengths, cache bytes, pool use."""
    gauge = Gauge(name, documentation, registry=registry)
    gauge.set_function(read)


def render(registry: CollectorRegistry = REGISTRY) -> bytes:
    """All numbers now."""
    return generate_latest(registry)
