"""The bars that Homing sets itself, beside one Synapse process in the same run or alone."""

from attrs import frozen

from benchmarks.figures import Comparison


@frozen
class Bar:
    """At least so many times better than Synapse, or at most so much by itself."""

    times_better: float | None = None
    at_most: float | None = None

    def __str__(self) -> str:
        return f"{self.times_better:g} ×" if self.times_better is not None else f"at most {self.at_most:g}"

    def met_by(self, comparison: Comparison) -> bool | None:
        """None where nothing was measured."""
        if self.times_better is not None:
            return None if comparison.ratio is None else comparison.ratio >= self.times_better
        if self.at_most is not None and comparison.ours is not None:
            return comparison.ours <= self.at_most
        return None


CPU_OF_MESSAGE = "CPU ms a message, server and database"

BARS = {
    ("send_sequential", "messages/s"): Bar(times_better=8),
    ("send_sequential", CPU_OF_MESSAGE): Bar(times_better=20),
    ("send_one_room", "messages/s"): Bar(times_better=25),
    ("send_one_room", CPU_OF_MESSAGE): Bar(times_better=20),
    ("send_many_rooms", "messages/s"): Bar(times_better=20),
    ("send_many_rooms", CPU_OF_MESSAGE): Bar(times_better=20),
    ("delivery_fast", "ms to visible, 99th percentile"): Bar(at_most=50),
    ("initial_sync", "ms an initial sync"): Bar(times_better=15),
    ("empty_sync", "syncs/s"): Bar(times_better=10),
    ("first_window", "ms a first window"): Bar(times_better=5),
    ("idle_round", "rounds/s"): Bar(times_better=5),
    ("large_account", "ms a first window"): Bar(at_most=150),
    ("search", "ms a search by rank"): Bar(times_better=5),
    ("search", "ms a search by recent"): Bar(times_better=5),
    ("crowd", "ms a message"): Bar(times_better=5),
    ("crowd", "presence changes/s"): Bar(times_better=5),
    ("media", "CPU ms a picture up, and drawn small, server and database"): Bar(times_better=5),
    ("create_rooms", "rooms/s"): Bar(times_better=10),
    ("joins", "ms a join, around the 2000th"): Bar(times_better=15),
    ("joins", "CPU of the last join against the 100th"): Bar(at_most=1.5),
    ("receive_pdus", "PDUs/s"): Bar(times_better=12),
    ("receive_pdus", "CPU ms a PDU, server and database"): Bar(times_better=15),
    ("join_remote", "ms a join"): Bar(times_better=10),
    ("keys", "ms a query of their keys"): Bar(times_better=5),
    ("keys", "ms a claim of a key of each device"): Bar(times_better=5),
    ("keys", "ms a message to each device"): Bar(times_better=5),
    ("keys", "ms a sync that tells whose devices changed"): Bar(times_better=5),
    ("memory", "MB resident after the loads"): Bar(times_better=2),
}
