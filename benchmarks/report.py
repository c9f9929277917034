"""The table of a comparison, for the terminal and for docs/benchmarks.md."""

from collections.abc import Iterator

from benchmarks.bars import BARS
from benchmarks.figures import Comparison
from benchmarks.results import LoadResult, Results

HEADINGS = ("Figure", "Homing", "Synapse", "Better", "Range", "Bar", "Met")

INTRODUCTION = """\
# Benchmarks

`python -m benchmarks.compare` starts this server and one Synapse process, each on a durable PostgreSQL cluster of its
own (same binaries, same settings), runs the same loads against both in turn, and writes this page. Do not edit it.

"Better" says how many times better Homing's median is than Synapse's; "Range" the least and the most of the rounds,
which alternate between the two servers. CPU seconds are those of the whole process trees, work put off beyond the
answers included. They are the figures to trust on a busy machine; rates and delays also depend on what else it does.
"Generator" is the share of one core that the load generator used: near 100 % it was the limit, and the server would
have done more. Accounts, rooms and other preparations are not measured. Both servers make rooms of version 12.
"""


def render_page(results: Results) -> str:
    """docs/benchmarks.md."""
    setting = "\n".join(f"| {name} | {value} |" for name, value in results.setting.items())
    parts = [INTRODUCTION, f"## Where and when\n\n| | |\n| --- | --- |\n{setting}\n"]
    parts.extend(f"## {load.title}\n\n`{load.name}`\n\n{_markdown(load)}" for load in results.loads)
    return "\n".join(parts)


def render_terminal(load: LoadResult) -> str:
    """One load in columns."""
    rows = [HEADINGS, *_rows(load)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
    return "\n".join((f"{load.title} ({load.name})", *(f"  {line}" for line in lines)))


def _markdown(load: LoadResult) -> str:
    lines = [_line(HEADINGS), "| --- | ---: | ---: | ---: | ---: | ---: | --- |"]
    lines.extend(_line(row) for row in _rows(load))
    return "\n".join(lines) + "\n"


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _rows(load: LoadResult) -> Iterator[tuple[str, ...]]:
    for comparison in load.comparisons:
        bar = BARS.get((load.name, comparison.name))
        met = bar.met_by(comparison) if bar else None
        yield (
            comparison.name,
            number(comparison.ours),
            number(comparison.theirs),
            _times(comparison.ratio),
            _range(comparison),
            str(bar) if bar else "",
            {None: "", True: "yes", False: "no"}[met],
        )


def number(value: float | None) -> str:
    """Three digits that count, never an exponent."""
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{number(ratio)} ×"


def _range(comparison: Comparison) -> str:
    ratios = comparison.ratios
    return f"{number(min(ratios))}–{number(max(ratios))}" if len(ratios) > 1 else ""
