"""Figures, and the arithmetic that turns many runs into one table."""

from collections.abc import Sequence
from enum import Enum
from statistics import median

from attrs import frozen

from benchmarks.measure import Cost


class Better(Enum):
    """Which way a figure is good."""

    MORE = "more"
    LESS = "less"
    NEITHER = "neither"


@frozen
class Figure:
    """One number that one run of a load gave."""

    name: str
    value: float
    better: Better


@frozen
class Comparison:
    """A figure of both servers over the rounds: medians, and how many times better ours is."""

    name: str
    better: Better
    ours: float | None
    theirs: float | None
    ratios: tuple[float, ...]

    @property
    def ratio(self) -> float | None:
        """How many times better ours is: of the medians, as single rounds may be disturbed."""
        return times_better(self.ours, self.theirs, self.better)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the values do not exceed."""
    if not values:
        raise ValueError("no value has a percentile")
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def times_better(ours: float | None, theirs: float | None, better: Better) -> float | None:
    """How many times better ours is than theirs; None where that makes no sense."""
    if ours is None or theirs is None or better is Better.NEITHER:
        return None
    good, bad = (ours, theirs) if better is Better.MORE else (theirs, ours)
    return good / bad if bad > 0 else None


def compare(ours: Sequence[Sequence[Figure]], theirs: Sequence[Sequence[Figure]]) -> list[Comparison]:
    """The figures of all rounds of one load, in the order in which they were first given."""
    shapes = {figure.name: figure.better for run in (*ours, *theirs) for figure in run}
    return [
        _compare_one(name, better, _values(ours, name), _values(theirs, name))
        for name, better in shapes.items()
    ]


def cost_figures(cost: Cost, noun: str) -> list[Figure]:
    """Rate and CPU of a load whose operations are called `noun`."""
    each = f"CPU ms {'an' if noun[0] in 'aeiou' else 'a'} {noun}"
    return [
        Figure(f"{noun}s/s", cost.per_second, Better.MORE),
        Figure(f"{each}, server and database", cost.cpu_ms(), Better.LESS),
        Figure(f"{each}, server", cost.cpu_ms(database=False), Better.LESS),
        Figure(f"{each}, database", cost.cpu_ms(server=False), Better.LESS),
        generator_share(cost),
    ]


def generator_share(cost: Cost) -> Figure:
    """How much of one core the load generator used: near 100 % it was the limit."""
    return Figure("generator, % of a core", 100 * cost.generator_cpu / cost.seconds, Better.NEITHER)


def _values(runs: Sequence[Sequence[Figure]], name: str) -> list[float]:
    return [figure.value for run in runs for figure in run if figure.name == name]


def _compare_one(name: str, better: Better, ours: list[float], theirs: list[float]) -> Comparison:
    pairs = (times_better(mine, other, better) for mine, other in zip(ours, theirs, strict=False))
    return Comparison(
        name=name,
        better=better,
        ours=median(ours) if ours else None,
        theirs=median(theirs) if theirs else None,
        ratios=tuple(ratio for ratio in pairs if ratio is not None),
    )
