"""Applications that log people in by OAuth 2.0, and the pages that these see in a browser."""

import subprocess

import pytest

from tests.interop.chromium import found_chromium
from tests.interop.node import SCRIPTS

pytestmark = pytest.mark.interop

SCRIPT_SECONDS = 120
PICTURES = ["1-log-in", "2-consent", "3-link", "4-account", "5-new"]


@pytest.mark.timeout(600)  # the first time, packages are fetched
def test_people_let_applications_in(homing, node, tmp_path):
    done = subprocess.run(
        [node, SCRIPTS / "oauth.mjs", homing.url, found_chromium(), tmp_path],
        capture_output=True,
        text=True,
        timeout=SCRIPT_SECONDS,
        check=False,
    )
    steps = done.stdout.splitlines()
    assert (done.returncode, steps[-1:]) == (0, ["all is well"]), done.stdout + done.stderr
    assert sorted(one.stem for one in tmp_path.glob("*.png")) == PICTURES
