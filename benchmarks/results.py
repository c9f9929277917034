"""The outcome of a comparison as a value and as a file: what the table is made of."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson
from attrs import frozen

from benchmarks.figures import Better, Comparison


@frozen
class LoadResult:
    """The compared figures of one load."""

    name: str
    title: str
    comparisons: tuple[Comparison, ...]


@frozen
class Results:
    """All loads of one run, and what they ran on."""

    setting: Mapping[str, str]
    loads: tuple[LoadResult, ...]


def dump(results: Results) -> bytes:
    """The results as JSON for people and programs."""
    loads = [
        {"name": load.name, "title": load.title, "figures": [_figure(each) for each in load.comparisons]}
        for load in results.loads
    ]
    content = {"setting": dict(results.setting), "loads": loads}
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def load(path: Path) -> Results:
    """The results that `dump` wrote."""
    content = orjson.loads(path.read_bytes())
    loads = [
        LoadResult(each["name"], each["title"], tuple(_comparison(figure) for figure in each["figures"]))
        for each in content["loads"]
    ]
    return Results(setting=content["setting"], loads=tuple(loads))


def _figure(comparison: Comparison) -> dict[str, object]:
    return {
        "name": comparison.name,
        "better": comparison.better.value,
        "ours": comparison.ours,
        "theirs": comparison.theirs,
        "ratios": comparison.ratios,
    }


def _comparison(said: Mapping[str, object]) -> Comparison:
    return Comparison(
        name=str(said["name"]),
        better=Better(said["better"]),
        ours=_number(said["ours"]),
        theirs=_number(said["theirs"]),
        ratios=_numbers(said["ratios"]),
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _numbers(values: object) -> tuple[float, ...]:
    assert isinstance(values, Sequence)
    return tuple(float(value) for value in values)
