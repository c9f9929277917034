"""Runs a module that reads what anybody may have written, such as images and web pages, where it can do little harm.

A program of its own: it is started with the path of a module, knows nothing of the server, and takes limits on memory
and files upon itself; whoever started it ends it when it takes too long (see `confined`). Each line of its input is an
order as JSON, each line of its output what the module's `answer` says to it.
"""

import importlib.util
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

MEMORY = 1024 * 1024 * 1024
MAX_FILE = 64 * 1024 * 1024
MAX_OPEN = 64


def main(path: str) -> None:
    """Until the input ends."""
    outcomes = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no outcome
    answer = loaded(path)
    confine()
    for line in sys.stdin:
        outcomes.write(json.dumps(answer(json.loads(line))) + "\n")
        outcomes.flush()


def loaded(path: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The function that does the work."""
    spec = importlib.util.spec_from_file_location("work", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[[dict[str, Any]], dict[str, Any]] = module.answer
    return found


def confine() -> None:
    """Take away what is not needed."""
    try:
        import resource
    except ImportError:  # not a Unix
        return
    limits = (
        (resource.RLIMIT_DATA, MEMORY),
        (resource.RLIMIT_FSIZE, MAX_FILE),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, MAX_OPEN),
    )
    for limit, value in limits:
        with suppress(ValueError, OSError):  # not every system has each
            resource.setrlimit(limit, (value, value))
    with suppress(OSError):
        os.nice(10)


if __name__ == "__main__":
    main(sys.argv[1])
