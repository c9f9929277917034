"""What the specification's OpenAPI data says of answers: `python -m tests.kit.answer_schemas FOLDER` makes the fixture.

FOLDER has `client-server.openapi.json`, every reference resolved. Only what a check needs is kept, each schema once.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

FIXTURE = Path(__file__).parent.parent / "fixtures" / "answer_schemas.json"
METHODS = ["get", "put", "post", "delete"]
_PROSE = {"description", "example", "examples", "title", "format"}
Json = Mapping[str, Any]


def main(folder: Path) -> None:
    document = orjson.loads((folder / "client-server.openapi.json").read_bytes())
    schemas: list[Any] = []
    numbers: dict[bytes, int] = {}
    answers: dict[str, dict[str, int]] = {}
    for endpoint, status, schema in sorted(_answers(document), key=lambda one: one[:2]):
        key = orjson.dumps(schema, option=orjson.OPT_SORT_KEYS)
        if key not in numbers:
            numbers[key] = len(schemas)
            schemas.append(schema)
        answers.setdefault(endpoint, {})[status] = numbers[key]
    lines = ",\n".join(orjson.dumps(one, option=orjson.OPT_SORT_KEYS).decode() for one in schemas)
    FIXTURE.write_text(
        f'{{"answers":{orjson.dumps(answers).decode()},\n"schemas":[\n{lines}\n]}}\n', encoding="utf-8"
    )


def _answers(document: Json) -> Iterator[tuple[str, str, Any]]:
    for path, item in document["paths"].items():
        for method in METHODS:
            for status, answer in item.get(method, {}).get("responses", {}).items():
                schema = answer.get("content", {}).get("application/json", {}).get("schema")
                if schema and status.isdigit():
                    yield f"{method.upper()} {path.strip()}", status, _without_prose(schema)


def _without_prose(schema: Any, names: bool = False) -> Any:
    """`names`: the keys are names of properties, not words of the schema language."""
    if isinstance(schema, list):
        return [_without_prose(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if names or not _prose(key)}
    return {
        key: value if key in ("enum", "required", "const") and not names
        else _without_prose(value, names=key in ("properties", "patternProperties") and not names)
        for key, value in kept.items()
    }  # fmt: skip


def _prose(key: str) -> bool:
    return key in _PROSE or key.startswith("x-")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
