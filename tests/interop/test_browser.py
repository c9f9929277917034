"""Users of a web client, Hydrogen, in a browser: its forms, its service worker, and the browser's rules of origin."""

import subprocess

import pytest

from tests.interop.chromium import found_chromium
from tests.interop.node import SCRIPTS

pytestmark = pytest.mark.interop

SCRIPT_SECONDS = 240  # a browser beside everything else on a small machine
PICTURES = ["1-logged-in", "2-creating", "3-thumbnail", "4-lightbox", "5-back"]


@pytest.mark.timeout(600)  # the first time, packages are fetched
def test_two_people_talk_and_show_a_picture(homing, node, tmp_path):
    chromium = found_chromium()
    done = subprocess.run(
        [node, SCRIPTS / "browser.mjs", homing.url, chromium, tmp_path],
        capture_output=True,
        text=True,
        timeout=SCRIPT_SECONDS,
        check=False,
    )
    steps = done.stdout.splitlines()
    assert (done.returncode, steps[-1:]) == (0, ["all is well"]), done.stdout + done.stderr
    assert sorted(one.stem for one in tmp_path.glob("*.png")) == PICTURES
