"""The arithmetic behind the table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import Better, Figure, compare, cost_figures, percentile, times_better
from benchmarks.measure import Cost
from benchmarks.scenarios.rooms import WINDOW, boundaries

COST = Cost(operations=100, seconds=5, server_cpu=0.4, database_cpu=0.1, generator_cpu=0.25)


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([7.0], 50, 7.0),
        ([3.0, 1.0, 2.0], 50, 2.0),
        ([1.0, 2.0, 3.0, 4.0], 50, 2.0),
        ([float(number) for number in range(1, 101)], 99, 99.0),
        ([float(number) for number in range(1, 1001)], 99, 990.0),
        ([1.0, 9.0], 99, 9.0),
        ([1.0, 9.0], 0, 1.0),
    ],
)
def test_percentile(values, percent, expected):
    assert percentile(values, percent) == expected


def test_nothing_has_no_percentile():
    with pytest.raises(ValueError, match="percentile"):
        percentile([], 50)


@given(st.lists(st.floats(0, 1e9), min_size=1), st.integers(0, 100))
def test_a_percentile_is_a_value_that_enough_do_not_exceed(values, percent):
    value = percentile(values, percent)
    assert value in values
    assert sum(each <= value for each in values) * 100 >= percent * len(values)


@pytest.mark.parametrize(
    ("ours", "theirs", "better", "expected"),
    [
        (80.0, 10.0, Better.MORE, 8.0),
        (10.0, 80.0, Better.LESS, 8.0),
        (10.0, 80.0, Better.NEITHER, None),
        (None, 80.0, Better.LESS, None),
        (10.0, None, Better.LESS, None),
        (0.0, 80.0, Better.LESS, None),  # too little to be seen: no ratio
    ],
)
def test_times_better(ours, theirs, better, expected):
    assert times_better(ours, theirs, better) == expected


def test_rounds_become_medians_and_a_range():
    def runs(*values):
        return [[Figure("messages/s", value, Better.MORE)] for value in values]

    [comparison] = compare(runs(100, 900, 300), runs(10, 20, 30))
    assert (comparison.ours, comparison.theirs, comparison.ratio) == (300, 20, 15)
    assert comparison.ratios == (10, 45, 10)


def test_a_server_that_did_not_run_leaves_a_gap():
    [comparison] = compare([[Figure("messages/s", 5, Better.MORE)]], [])
    assert (comparison.ours, comparison.theirs, comparison.ratio, comparison.ratios) == (5, None, None, ())


def test_cost_is_told_by_operation():
    assert {figure.name: figure.value for figure in cost_figures(COST, "initial sync")} == {
        "initial syncs/s": 20,
        "CPU ms an initial sync, server and database": 5,
        "CPU ms an initial sync, server": 4,
        "CPU ms an initial sync, database": 1,
        "generator, % of a core": 5,
    }


@pytest.mark.parametrize(("total", "centers"), [(2050, [100, 1000, 2000]), (250, [100, 200])])
def test_joins_are_measured_around_the_hundredth_the_middle_and_the_last(total, centers):
    edges = boundaries(total)
    assert (edges[0], edges[-1]) == (0, total)
    for center in centers:
        assert edges.index(center + WINDOW) == edges.index(center - WINDOW) + 1
