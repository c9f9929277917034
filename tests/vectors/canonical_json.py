"""Canonical JSON: text in, the one canonical text out, in both strictnesses."""

from pathlib import Path
from typing import Any

from homeserver.core import canonical_json
from tests.vectors.result import Result, differs, load


def run(path: Path) -> Result:
    """Check every case strictly and leniently."""
    result = Result()
    for number, case in enumerate(load(path)["cases"]):
        result.check(f"case {number} {case['input'][:60]!r}", _check, case)
    return result


def _check(case: dict[str, Any]) -> str | None:
    text = case["input"].encode()
    lenient = case["canonical"] or case.get("canonical_if_not_strict")
    return differs(case["canonical"], _strict(text)) or (lenient and differs(lenient, _lenient(text)))


def _strict(text: bytes) -> str | None:
    try:
        return canonical_json.encode(canonical_json.decode(text)).decode()
    except canonical_json.NotCanonical:
        return None


def _lenient(text: bytes) -> str | None:
    try:
        return canonical_json.encode_lenient(canonical_json.decode_lenient(text)).decode()
    except canonical_json.NotCanonical:
        return None
