"""The command that checks files of known answers says what failed, and says so to its caller."""

from pathlib import Path

import orjson
import pytest

from tests.vectors.__main__ import main
from tests.vectors.result import Result, differs

GOOD = {"input": '{"b":1, "a":2}', "canonical": '{"a":2,"b":1}', "strict_ok": True}
WRONG = {"input": "1", "canonical": "2", "strict_ok": True}


@pytest.mark.parametrize(("cases", "status"), [([GOOD], 0), ([GOOD, WRONG], 1)])
def test_the_command(cases: list, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "canonical_json.json").write_bytes(orjson.dumps({"cases": cases}))
    (tmp_path / "unknown.json").write_text("{}")
    assert main([str(tmp_path)]) == status
    assert main([str(tmp_path), "canonical_json"]) == status
    assert ("case 1" in capsys.readouterr().out) is (status == 1)


def test_without_files(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 1
    assert main([]) == 2


def test_raising_is_failing() -> None:
    result = Result()
    result.check("right", differs, 1, 1)
    result.check("wrong", differs, 1, 2)
    result.check("raising", lambda: {}["missing"])
    assert result.passed == 1
    assert [label for label, _ in result.failures] == ["wrong", "raising"]
