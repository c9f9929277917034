"""Debian's Chromium, in which web clients run as their users run them."""

import os
import shutil
from pathlib import Path

import pytest

_NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]


def found_chromium() -> Path:
    """The browser. Skips where there is none, except under CI, where there must be one."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is not None:
        return Path(found)
    if os.environ.get("CI"):
        pytest.fail("Chromium is missing")
    pytest.skip("Chromium is missing: no web client is tested (Debian: apt-get install chromium)")
