"""Logs: every line has its request's id, whichever library wrote it."""

import json
import logging

import pytest
import structlog

from homeserver.app.config import Logging
from homeserver.app.logs import set_up_logs


@pytest.fixture(autouse=True)
def _as_before():
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)  # tracebacks of the defaults are slow to draw


def lines(capfd):
    return [json.loads(line) for line in capfd.readouterr().err.splitlines()]


def test_json_lines_carry_the_bound_request(capfd):
    set_up_logs(Logging(format="json"))
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        structlog.get_logger().info("ours", status=200)
        logging.getLogger("some.library").warning("theirs %d", 7)
    ours, theirs = lines(capfd)
    assert (ours["event"], ours["request_id"], ours["status"], ours["level"]) == ("ours", "r1", 200, "info")
    assert (theirs["event"], theirs["request_id"], theirs["logger"]) == ("theirs 7", "r1", "some.library")


def test_a_traceback_is_part_of_its_line(capfd):
    set_up_logs(Logging(format="json"))
    try:
        raise ValueError("why")
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = lines(capfd)
    assert line["exception"][0]["exc_value"] == "why"


def test_the_level_is_kept(capfd):
    set_up_logs(Logging(level="warning", format="json"))
    structlog.get_logger().info("not this")
    logging.getLogger("some.library").info("nor this")
    structlog.get_logger().warning("this")
    assert [line["event"] for line in lines(capfd)] == ["this"]


def test_lines_for_people(capfd):
    set_up_logs(Logging(format="console"))
    structlog.get_logger().info("ours", status=200)
    assert "ours" in capfd.readouterr().err


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_no_variables(capfd, form):
    set_up_logs(Logging(format=form))
    password = f"hunter{1 + 1}"
    try:
        raise ValueError(len(password))
    except ValueError:
        structlog.get_logger().exception("surprise")
    err = capfd.readouterr().err
    assert "ValueError" in err
    assert "hunter2" not in err
