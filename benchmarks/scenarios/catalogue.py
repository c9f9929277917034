"""All loads, in the order in which they run and are shown."""

from benchmarks.scenarios import (
    crowd,
    delivery,
    encryption,
    federating,
    media,
    rooms,
    searching,
    sending,
    sliding,
    storing,
    syncing,
)
from benchmarks.scenarios.scenario import Scenario

SCENARIOS: list[Scenario] = [
    *sending.SCENARIOS,
    *delivery.SCENARIOS,
    *syncing.SCENARIOS,
    *sliding.SCENARIOS,
    *searching.SCENARIOS,
    *rooms.SCENARIOS,
    *crowd.SCENARIOS,
    *media.SCENARIOS,
    *storing.SCENARIOS,
    *federating.SCENARIOS,
    *encryption.SCENARIOS,
]
