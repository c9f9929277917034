"""All loads, in the order in which they run and are shown."""

from benchmarks.scenarios import delivery, encryption, federating, rooms, sending, storing, syncing
from benchmarks.scenarios.scenario import Scenario

SCENARIOS: list[Scenario] = [
    *sending.SCENARIOS,
    *delivery.SCENARIOS,
    *syncing.SCENARIOS,
    *rooms.SCENARIOS,
    *storing.SCENARIOS,
    *federating.SCENARIOS,
    *encryption.SCENARIOS,
]
