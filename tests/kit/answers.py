"""Every answer that a test's client gets is compared with the schema that the specification gives for it.

What does not fit, with good reason, stands in tests/fixtures/excused_answers.tsv and on the page docs/spec-coverage.md:
endpoint, status, place within the answer (a pattern), reason.
"""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema_rs
import orjson
from attrs import frozen

FIXTURES = Path(__file__).parent.parent / "fixtures"
EXCUSES = FIXTURES / "excused_answers.tsv"
_PARAMETER = re.compile(r"\\\{\w+\\\}")


@frozen
class Excuse:
    """A difference from a schema that is right nevertheless."""

    endpoint: str
    status: int
    place: str
    reason: str


@frozen
class _Known:
    """An endpoint of the specification; `answers` has the number of a schema for each status."""

    name: str
    pattern: re.Pattern[str]
    answers: dict[str, int]


@cache
def excuses() -> Sequence[Excuse]:
    """In the order of the file."""
    rows = [line.split("\t") for line in EXCUSES.read_text().splitlines()[1:]]
    return [Excuse(endpoint, int(status), place, reason) for endpoint, status, place, reason in rows]


def mismatches(method: str, target: str, status: int, content: bytes) -> list[str]:
    """What in the answer to a request is not as specified, and not excused."""
    known = _endpoint(method, urlsplit(target).path)
    if known is None or str(status) not in known.answers:
        return []
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError:
        return [f"{known.name} {status}: not JSON: {content[:100]!r}"]
    errors = _validator(known.answers[str(status)]).iter_errors(answer)
    found = [("/".join(map(str, error.instance_path)), error.message[:300]) for error in errors]
    excused = [one.place for one in excuses() if (one.endpoint, one.status) == (known.name, status)]
    return [
        f"{known.name} {status} {place}: {message}"
        for place, message in found
        if not any(re.fullmatch(pattern, place) for pattern in excused)
    ]


@cache
def _fixture() -> Any:
    return orjson.loads((FIXTURES / "answer_schemas.json").read_bytes())


@cache
def _validator(number: int) -> Any:
    return jsonschema_rs.validator_for(_fixture()["schemas"][number])


@cache
def _endpoints(method: str) -> Sequence[_Known]:
    """Those with the longest fixed part first: a fixed segment wins over a parameter."""
    names = [name for name in _fixture()["answers"] if name.startswith(method + " ")]
    names.sort(key=lambda name: -len(re.sub(r"\{\w+\}", "", name)))
    return [_Known(name, _pattern(name), _fixture()["answers"][name]) for name in names]


def _pattern(name: str) -> re.Pattern[str]:
    path = name.partition(" ")[2]
    return re.compile(_PARAMETER.sub(_parameter, re.escape(path)) + "/?")


def _parameter(found: re.Match[str]) -> str:
    """Only state keys may be empty."""
    return "[^/]*" if "stateKey" in found[0] else "[^/]+"


def _endpoint(method: str, path: str) -> _Known | None:
    path = path.replace("/client/r0/", "/client/v3/")
    return next((one for one in _endpoints(method) if one.pattern.fullmatch(path)), None)
