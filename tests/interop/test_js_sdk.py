"""Users of matrix-js-sdk, the library under Element's web and desktop clients."""

import subprocess

import pytest

from tests.interop.node import SCRIPTS

pytestmark = pytest.mark.interop

SCRIPT_SECONDS = 100


@pytest.mark.timeout(600)  # the first time, packages are fetched
@pytest.mark.parametrize("script", ["two_users.mjs", "rooms.mjs", "sliding.mjs"])
def test_all_is_well(homing, node, script):
    done = subprocess.run(
        [node, SCRIPTS / script, homing.url],
        capture_output=True,
        text=True,
        timeout=SCRIPT_SECONDS,
        check=False,
    )
    steps = done.stdout.splitlines()
    assert (done.returncode, steps[-1:]) == (0, ["all is well"]), done.stdout + done.stderr
