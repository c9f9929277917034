"""The order in which the targets of a service are tried [RFC 2782]."""

from collections.abc import Callable, Iterable

from attrs import frozen

Draw = Callable[[int], int]  # a random integer from 0 to its argument, both included


@frozen
class ServiceRecord:
    """An SRV record."""

    priority: int
    weight: int
    port: int
    target: str


def in_order(records: Iterable[ServiceRecord], draw: Draw) -> list[ServiceRecord]:
    """Lowest priority first; within one, at random in proportion to the weights."""
    ordered: list[ServiceRecord] = []
    waiting = sorted(records, key=lambda record: (record.priority, record.weight))
    while waiting:
        chosen = _drawn([record for record in waiting if record.priority == waiting[0].priority], draw)
        waiting.remove(chosen)
        ordered.append(chosen)
    return ordered


def _drawn(equals: list[ServiceRecord], draw: Draw) -> ServiceRecord:
    """The first one whose running sum of weights reaches a number drawn up to the whole sum [RFC 2782 "Weight"]."""
    left = draw(sum(record.weight for record in equals))
    for record in equals:
        left -= record.weight
        if left <= 0:
            return record
    return equals[-1]
