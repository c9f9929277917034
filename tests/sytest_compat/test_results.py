"""Logs of SyTest are read right, and compared with what is expected."""

from sytest_compat.expected import Expectation, compare, read_expectation
from sytest_compat.report import differences, score_lines
from sytest_compat.results import Result, best, is_whole, read_table, read_tap, without, write_table

LOG = """\
# Starting server-0
# file: tests/11register.pl
ok 1 GET /register yields a set of flows
not ok 2 Register with a recaptcha
# Started: 2026-01-01 00:00:00.000
# Ended: 2026-01-01 00:00:00.100
# HTTP Request failed ( 401 http://127.0.0.1:18101/_matrix?access_token=abc ) in !abcdefghijkl:127.0.0.1:18100
# more of it
# file: tests/30rooms/06invite.pl
ok 3 Can invite # skip lack of can_register
  ok 1 a step
ok 4 Many steps (12 subtests)
ok 5 Many steps
not ok 6 Never
1..6
"""


def test_a_log_is_read():
    register, invite = "tests/11register.pl", "tests/30rooms/06invite.pl"
    assert read_tap(LOG) == [
        Result(register, "GET /register yields a set of flows", "ok"),
        Result(
            register,
            "Register with a recaptcha",
            "fail",
            "HTTP Request failed ( 401 http://HOST/_matrix ) in !ROOM",
        ),
        Result(invite, "Can invite", "skip", "lack of can_register"),
        Result(invite, "Many steps", "ok"),
        Result(invite, "Many steps #2", "ok"),
        Result(invite, "Never", "fail"),
    ]
    assert is_whole(LOG)
    assert not is_whole(LOG.removesuffix("1..6\n"))


def test_the_score_counts_skips_as_not_passed():
    lines = [line.split() for line in score_lines(read_tap(LOG))]
    assert lines[1:] == [
        ["11register", "2", "1", "1", "0", "50.0%"],
        ["30rooms", "4", "2", "1", "1", "50.0%"],
        ["all", "6", "3", "2", "1", "50.0%"],
    ]


def test_a_table_is_read_as_it_was_written(tmp_path):
    results = read_tap(LOG)
    write_table(tmp_path / "x.tsv", results)
    assert read_table(tmp_path / "x.tsv") == results


def test_the_better_of_two_runs_counts():
    first = [Result("a", "x", "fail"), Result("a", "y", "ok"), Result("a", "z", "skip")]
    again = [Result("a", "x", "ok"), Result("a", "y", "fail")]
    assert [result.result for result in best(first, again)] == ["ok", "ok", "skip"]
    assert without(first, [("a", "x"), ("b", "y")]) == first[1:]


def test_new_failures_and_new_passes_are_faults():
    expected = Expectation(
        passing=frozenset({("a", "good"), ("a", "broken"), ("a", "not run")}),
        failing={("a", "bad"): "why", ("a", "mended"): "why"},
    )
    results = [
        Result("a", "good", "ok"),
        Result("a", "broken", "skip"),
        Result("a", "bad", "fail"),
        Result("a", "mended", "ok"),
        Result("a", "new", "ok"),
    ]
    found = compare(results, expected)
    assert [[result.test for result in part] for part in (found.new_failures, found.new_passes)] == [
        ["broken"],
        ["mended"],
    ]
    assert [result.test for result in found.unknown] == ["new"]
    assert not found.agrees
    told = "\n".join(differences(found))
    assert all(name in told for name in ("broken", "mended", "new"))
    assert compare([results[0], results[2]], expected).agrees


def test_the_lists_do_not_contradict_each_other():
    expected = read_expectation()
    assert expected.passing
    assert expected.passing.isdisjoint(expected.failing)
    assert expected.not_ours.isdisjoint(expected.failing.keys() | expected.passing)
    assert all(expected.failing.values()), "each needs its reason"
