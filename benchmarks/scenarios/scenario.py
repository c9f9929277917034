"""What a load is: a preparation that is not measured, and rounds that are."""

from collections.abc import Awaitable, Callable

from attrs import frozen

from benchmarks.figures import Figure
from benchmarks.servers import Site

Round = Callable[[], Awaitable[list[Figure]]]


@frozen
class Scale:
    """How much of everything: enough for steady figures, or for a quick look."""

    seconds: float
    rounds: int
    joins: int
    rooms: int
    deliveries_seconds: float
    stored: int
    pdus: int
    members: int
    crowd: int
    destinations: int
    keyed: int
    searched: int
    crowded: int
    large_account: int


FULL = Scale(
    seconds=5,
    rounds=3,
    joins=2050,
    rooms=100,
    deliveries_seconds=5,
    stored=1000,
    pdus=2000,
    members=5000,
    crowd=20_000,
    destinations=300,
    keyed=500,
    searched=100_000,
    crowded=1000,
    large_account=5000,
)
QUICK = Scale(
    seconds=1.5,
    rounds=1,
    joins=250,
    rooms=10,
    deliveries_seconds=2,
    stored=200,
    pdus=1000,
    members=1000,
    crowd=3000,
    destinations=60,
    keyed=50,
    searched=20_000,
    crowded=200,
    large_account=500,
)


@frozen
class Scenario:
    """One load by name; `once` when it takes long or changes what it measures. The title may speak of `scale`."""

    name: str
    title: str
    prepare: Callable[[Site, Scale], Awaitable[Round]]
    once: bool = False
    alone: bool = False  # Homing bears it alone: after the memory of both has been read
