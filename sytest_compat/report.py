"""What the command prints: the score by area, and what is not as expected."""

from collections import Counter
from collections.abc import Iterator, Sequence

from sytest_compat.expected import Comparison
from sytest_compat.results import Result, score_by_area

_ROW = "{:<22} {:>6} {:>6} {:>6} {:>6} {:>7}"


def score_lines(results: Sequence[Result]) -> Iterator[str]:
    """A table for people. Skips count as not passed."""
    yield _ROW.format("area", "tests", "ok", "fail", "skip", "passed")
    areas = score_by_area(results)
    whole: Counter[str] = sum(areas.values(), Counter())
    for area, counts in [*areas.items(), ("all", whole)]:
        total = counts.total()
        share = f"{100 * counts['ok'] / total:.1f}%" if total else "-"
        yield _ROW.format(area, total, counts["ok"], counts["fail"], counts["skip"], share)


def differences(comparison: Comparison) -> Iterator[str]:
    """Every test that is not as expected, with the line that explains it."""
    for title, results in (
        ("failed, and should pass", comparison.new_failures),
        ("passed, and is not written down as passing", comparison.new_passes),
        ("in no list", comparison.unknown),
    ):
        if results:
            yield f"\n{title}: {len(results)}"
        for result in results:
            yield f"  {result.result:<4} {result.file}: {result.test}" + (
                f" ({result.note})" if result.note else ""
            )
    if comparison.agrees:
        yield "\nas expected"
