"""A device that is logged in lets a new one in, by a code that is scanned."""

import subprocess

import pytest

from tests.interop.chromium import found_chromium
from tests.interop.node import SCRIPTS

pytestmark = pytest.mark.interop

SCRIPT_SECONDS = 120


@pytest.mark.timeout(600)  # the first time, packages are fetched
def test_a_new_device_scans_a_code(homing, node):
    done = subprocess.run(
        [node, SCRIPTS / "qr_login.mjs", homing.url, found_chromium()],
        capture_output=True,
        text=True,
        timeout=SCRIPT_SECONDS,
        check=False,
    )
    steps = done.stdout.splitlines()
    assert (done.returncode, steps[-1:]) == (0, ["all is well"]), done.stdout + done.stderr
