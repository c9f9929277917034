"""Compares a run with what is expected of us: a new failure is a fault, and so is a new pass that nobody wrote down."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import frozen

from sytest_compat.results import Result, TestId

FOLDER = Path(__file__).parent / "expected"


@frozen
class Expectation:
    """`passing` must pass; `failing` must not, each for a reason; `not_ours` are not asked."""

    passing: frozenset[TestId]
    failing: dict[TestId, str]
    not_ours: frozenset[TestId] = frozenset()


@frozen
class Comparison:
    """Nothing but empty lists is good."""

    new_failures: Sequence[Result]
    new_passes: Sequence[Result]
    unknown: Sequence[Result]

    @property
    def agrees(self) -> bool:
        return not (self.new_failures or self.new_passes or self.unknown)


def read_expectation(folder: Path = FOLDER) -> Expectation:
    """`passing.tsv`; `excused.tsv` (for good) and `waiting.tsv` (not built yet); `tags.tsv` (other servers' own)."""
    tags = _rows(folder / "tags.tsv")
    return Expectation(
        passing=frozenset((file, test) for file, test, *_ in _rows(folder / "passing.tsv")),
        failing={
            (file, test): reason
            for name in ("excused.tsv", "waiting.tsv")
            for file, test, reason in _rows(folder / name)
        },
        not_ours=frozenset((file, test) for file, test, tag in tags if "synapse" in tag.split(",")),
    )


def compare(results: Iterable[Result], expected: Expectation) -> Comparison:
    """What differs, of the tests that were run."""
    failures, passes, unknown = [], [], []
    for result in results:
        passed = result.result == "ok"
        if result.id in expected.passing:
            failures += [] if passed else [result]
        elif result.id in expected.failing:
            passes += [result] if passed else []
        else:
            unknown.append(result)
    return Comparison(failures, passes, unknown)


def _rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return rows[1:]
