"""What one file of known answers came to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from attrs import define, field


@define
class Result:
    """Counts, and for each failed case its label and what went wrong."""

    passed: int = 0
    failures: list[tuple[str, str]] = field(factory=list)

    def check(self, label: str, case: Callable[..., str | None], *arguments: Any) -> None:
        """Run one case: it returns None when the answer agrees, else the difference; raising is failing."""
        try:
            difference = case(*arguments)
        except Exception as error:
            difference = f"raised {error!r}"
        if difference is None:
            self.passed += 1
        else:
            self.failures.append((label, difference))


def load(path: Path) -> dict[str, Any]:
    """The JSON object of a file of known answers."""
    document: dict[str, Any] = orjson.loads(path.read_bytes())
    return document


def differs(expected: object, actual: object) -> str | None:
    """None where both are equal, else a line that shows both."""
    return None if expected == actual else f"expected {expected!r}, got {actual!r}"
