"""How commands show lists and times to people."""

import time
from collections.abc import Sequence

import click

from homeserver.services.now import now_ms

_STEPS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def moment(ts: int | None) -> str:
    """A time in milliseconds, for people."""
    return "-" if not ts else time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(ts / 1000))


def ahead(ts: int | None) -> str:
    """How long until then, in one unit."""
    left = 0 if not ts else (ts - now_ms()) // 1000
    if left <= 0:
        return "now"
    length, unit = next(step for step in _STEPS if left >= step[0])
    return f"in {left // length} {unit}"
