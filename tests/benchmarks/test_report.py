"""The page says what was measured, and is the one that the last results give."""

import pytest

from benchmarks.bars import BARS, Bar
from benchmarks.compare import LATEST, PAGE
from benchmarks.figures import Better, Comparison
from benchmarks.report import number, render_page, render_terminal
from benchmarks.results import LoadResult, Results, dump, load
from benchmarks.scenarios.catalogue import SCENARIOS

RATE = Comparison("messages/s", Better.MORE, 320.0, 40.0, (7.5, 8.0, 8.25))
ALONE = Comparison("messages/s", Better.MORE, 320.0, None, ())
NEITHER = Comparison("generator, % of a core", Better.NEITHER, 12.0, 1.0, ())
RESULTS = Results({"Commit": "abc"}, (LoadResult("send_sequential", "One user", (RATE, NEITHER)),))


def test_a_row_tells_both_the_ratio_its_range_and_the_bar():
    page = render_page(RESULTS)
    assert "| messages/s | 320 | 40.0 | 8.00 × | 7.50–8.25 | 8 × | yes |" in page
    assert "| generator, % of a core | 12.0 | 1.00 |  |  |  |  |" in page
    assert "| Commit | abc |" in page


def test_a_server_alone_meets_no_bar_and_misses_none():
    text = render_terminal(LoadResult("send_sequential", "One user", (ALONE,)))
    assert text.splitlines()[2].split() == ["messages/s", "320", "–", "8", "×"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0.00"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (99.97, "100.0"),
        (1234567.8, "1,234,568"),
    ],
)
def test_numbers_are_short_and_plain(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("bar", "ours", "theirs", "met"),
    [
        (Bar(times_better=8), 320.0, 40.0, True),
        (Bar(times_better=8), 319.0, 40.0, False),
        (Bar(times_better=8), 320.0, None, None),
        (Bar(at_most=50), 50.0, None, True),
        (Bar(at_most=50), 50.1, 900.0, False),
        (Bar(at_most=50), None, 900.0, None),
    ],
)
def test_bars(bar, ours, theirs, met):
    assert bar.met_by(Comparison("messages/s", Better.MORE, ours, theirs, ())) is met


def test_every_bar_belongs_to_a_load():
    names = {scenario.name for scenario in SCENARIOS} | {"memory"}
    assert {name for name, _ in BARS} <= names


def test_results_survive_their_file(tmp_path):
    path = tmp_path / "results.json"
    path.write_bytes(dump(RESULTS))
    assert load(path) == RESULTS


def test_the_page_is_what_the_last_results_give():
    assert PAGE.read_text() == render_page(load(LATEST)), "run: python -m benchmarks.compare --render"
