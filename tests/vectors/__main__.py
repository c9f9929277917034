"""Check known answers: `python -m tests.vectors FOLDER [NAME …]`.

FOLDER holds `NAME.json` files; the module `tests.vectors.NAME` knows how to check one, by its function
`run(path: Path) -> Result`. Prints a table and the first failures; exits with 1 where a case failed.
"""
# ruff: noqa: T201 — a command whose output is its purpose

import importlib
import importlib.util
import sys
import time
from pathlib import Path

from tests.vectors.result import Result

SHOWN_FAILURES = 20


def main(arguments: list[str]) -> int:
    """Run the files that are named, or every file that a module exists for."""
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    folder, wanted = Path(arguments[0]), arguments[1:]
    paths = [folder / f"{name}.json" for name in wanted] or sorted(folder.glob("*.json"))
    print(f"{'file':20}{'passed':>8}{'failed':>8}{'seconds':>9}")
    results = {path.stem: _run(path) for path in paths if wanted or _has_module(path.stem)}
    for name, result in results.items():
        for label, difference in result.failures[:SHOWN_FAILURES]:
            print(f"{name}: {label}: {difference}")
    if not results:
        print(f"no files of known answers in {folder}", file=sys.stderr)
    return 0 if results and not any(result.failures for result in results.values()) else 1


def _has_module(name: str) -> bool:
    return importlib.util.find_spec(f"tests.vectors.{name}") is not None


def _run(path: Path) -> Result:
    started = time.perf_counter()
    result: Result = importlib.import_module(f"tests.vectors.{path.stem}").run(path)
    seconds = time.perf_counter() - started
    print(f"{path.stem:20}{result.passed:8}{len(result.failures):8}{seconds:9.2f}", flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
