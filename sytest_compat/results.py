"""What a run of a foreign test suite gave, test by test: read, kept as a table, counted."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import evolve, frozen

_RESULT = re.compile(r"(not )?ok \d+ (.*)")
_SKIP = re.compile(r"(.*) # skip ?(.*)")
_COLUMNS = ("file", "test", "result", "note")
_RANK = {"ok": 2, "fail": 1, "skip": 0}

TestId = tuple[str, str]  # file and name: a name alone may occur twice


@frozen
class Result:
    """One test. `result` is ok, fail or skip; `note` the first line that explains it."""

    file: str
    test: str
    result: str
    note: str = ""

    @property
    def id(self) -> TestId:
        return self.file, self.test

    @property
    def area(self) -> str:
        """tests/30rooms/06invite.pl belongs to 30rooms, tests/11register.pl to 11register."""
        parts = self.file.split("/")
        return parts[1] if len(parts) > 2 else parts[-1].removesuffix(".pl")


def read_tap(text: str) -> list[Result]:
    """The log of `-O tapfiles`."""
    found: list[Result] = []
    file = ""
    for line in text.splitlines():
        if line.startswith("# file: "):
            file = line.removeprefix("# file: ")
        elif match := _RESULT.fullmatch(line):
            found.append(_result(file, failed=bool(match[1]), rest=match[2]))
        elif found and found[-1].result == "fail" and not found[-1].note and _explains(line):
            found[-1] = evolve(found[-1], note=_scrubbed(line[2:]))
    return _numbered(found)


def is_whole(text: str) -> bool:
    """Did the run reach its end? The plan is the last thing that is written."""
    return re.search(r"^1\.\.\d+$", text, re.MULTILINE) is not None


def _result(file: str, *, failed: bool, rest: str) -> Result:
    if not failed and (skip := _SKIP.fullmatch(rest)):
        return Result(file, _clean(skip[1]), "skip", _scrubbed(skip[2]))
    if failed:
        return Result(file, _clean(rest), "fail")
    return Result(file, _clean(re.sub(r" \(\d+ subtests\)$", "", rest)), "ok")


def _explains(line: str) -> bool:
    return line.startswith("# ") and not line.startswith(("# Started: ", "# Ended: "))


def _clean(text: str) -> str:
    return text.replace("\t", " ").strip()


def _scrubbed(text: str) -> str:
    """A reason without what differs from run to run."""
    text = re.sub(r"\?access_token=\S*", "", _clean(text))
    text = re.sub(r"(127\.0\.0\.1|localhost):\d+", "HOST", text)
    text = re.sub(r"(/[\w.+-]+){2,}/(tests|lib|perl5?)/", r"\2/", text)
    text = re.sub(r"!\w{10,}(:HOST)?", "!ROOM", text)
    return re.sub(r"\$[\w-]{30,}|\$\d+:HOST", "$EVENT", text)[:200]


def _numbered(results: Iterable[Result]) -> list[Result]:
    """Where one file has several tests of one name, the second is called ` #2`."""
    seen: Counter[TestId] = Counter()
    numbered = []
    for result in results:
        seen[result.id] += 1
        twin = seen[result.id]
        numbered.append(result if twin == 1 else evolve(result, test=f"{result.test} #{twin}"))
    return numbered


def best(first: Sequence[Result], again: Sequence[Result]) -> list[Result]:
    """The better of two runs, test by test: a time-out on a busy machine is no verdict."""
    better = {result.id: result for result in again}
    return [max(result, better.get(result.id, result), key=lambda one: _RANK[one.result]) for result in first]


def without(results: Iterable[Result], ids: Iterable[TestId]) -> list[Result]:
    """All but these."""
    refused = set(ids)
    return [result for result in results if result.id not in refused]


def score_by_area(results: Iterable[Result]) -> dict[str, Counter[str]]:
    """How many of each result, area by area, in the order of the run."""
    areas: dict[str, Counter[str]] = {}
    for result in results:
        areas.setdefault(result.area, Counter())[result.result] += 1
    return areas


def read_table(path: Path) -> list[Result]:
    """What `write_table` wrote."""
    with path.open(encoding="utf-8", newline="") as file:
        return [Result(**row) for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def write_table(path: Path, results: Iterable[Result]) -> None:
    """One line a test."""
    rows = ["\t".join(_COLUMNS)]
    rows += ["\t".join(getattr(result, name) for name in _COLUMNS) for result in results]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
