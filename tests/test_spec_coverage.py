"""docs/spec-coverage.md tells the truth."""

from tests.spec_coverage import PAGE, page


def test_the_page_is_current(server):
    assert PAGE.read_text() == page(server.endpoints), "run: python -m tests.spec_coverage"
