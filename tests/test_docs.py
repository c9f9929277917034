"""The documents speak of files that exist and link to pages that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
CODE = "homeserver storage federation client_api sytest_compat tests benchmarks".split()
FILES = {
    path.relative_to(ROOT).as_posix()
    for top in CODE
    for path in (ROOT / top).rglob("*.*")
    if "node_modules" not in path.parts
}
MADE_UP = {"NNNN_what.sql", "NAME.py", "storage/migrations/NNNN_what.sql", "tests/vectors/NAME.py", "run.py"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_names_exists(page):
    text = page.read_text()
    named = set(re.findall(r"`([\w/]+\.(?:py|sql))`", text)) - MADE_UP
    assert not {name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in FILES)}
    links = {link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link}
    assert not {link for link in links if not (page.parent / link).exists()}
