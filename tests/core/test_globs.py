"""Globs and server access control lists [appendices "Glob-style matching"], [cs "m.room.server_acl"]."""

import fnmatch
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.globs import glob
from homeserver.core.server_acl import server_acl

CASES = [
    ("*", "", True),
    ("*", "anything", True),
    ("", "", True),
    ("", "x", False),
    ("?", "", False),
    ("?", "é", True),
    ("?", "\U0001f600", True),
    ("?", "\n", True),
    ("a*", "abc", True),
    ("a*", "ba", False),
    ("*a", "ba", True),
    ("a*a", "a", False),
    ("a*a", "aa", True),
    ("a**b", "ab", True),
    ("*b?d*", "abcde", True),
    ("*b?d*", "abde", False),
    ("m.room.*", "m.room.message", True),
    ("m.room.*", "mxroom.message", False),
    ("[ab]", "a", False),
    ("a.b\\", "a.b\\", True),
    ("*.evil.com", "evil.com", False),
    ("*" + "?" * 70 + "x*", "y" * 71 + "x", True),
    ("*" + "?" * 70 + "x*", "y" * 69 + "x", False),
]


@pytest.mark.parametrize(("pattern", "text", "matches"), CASES)
def test_globs(pattern: str, text: str, matches: bool) -> None:
    assert glob(pattern).matches(text) is matches


def test_case() -> None:
    assert not glob("Ab*").matches("aBc")
    assert glob("Ab*", ignore_case=True).matches("aBC")


few_characters = st.text(alphabet="ab?*.\n", max_size=8)


@given(few_characters, st.text(alphabet="ab.\n", max_size=10))
def test_globs_are_what_the_shell_has(pattern: str, text: str) -> None:
    assert glob(pattern).matches(text) == fnmatch.fnmatchcase(text, pattern)


HOSTILE = [
    ("a*" * 20000, "a" * 40000),
    ("*" + "a" * 20000 + "b*", "a" * 40000),
    ("*" + "a?" * 300 + "b*", "a" * 40000),
    ("*" + "a" * 62 + "?b*", "a" * 40000),
    ("*a?b" * 10000 + "*", "aab" * 13000),
    ("*?" * 20000 + "b", "a" * 40000),
]


@pytest.mark.parametrize(("pattern", "text"), HOSTILE, ids=lambda value: value[:8])
def test_hostile_patterns_cost_what_they_are_long(pattern: str, text: str) -> None:
    """Backtracking would take years; the bound leaves room for a busy machine."""
    started = time.process_time()
    glob(pattern).matches(text)
    assert time.process_time() - started < 1


ACL_CASES: list[tuple[dict[str, Any], str, bool]] = [
    ({"allow": ["*"]}, "a.example", True),
    ({"allow": ["*"]}, "1.2.3.4", True),
    ({"allow": ["*"], "allow_ip_literals": False}, "1.2.3.4", False),
    ({"allow": ["*"], "allow_ip_literals": False}, "1.2.3.4:8448", False),
    ({"allow": ["*"], "allow_ip_literals": False}, "[::1]:8448", False),
    ({"allow": ["*"], "allow_ip_literals": False}, "[::1]", False),
    ({"allow": ["*"], "allow_ip_literals": False}, "a.example:8448", True),
    ({"allow": ["*"], "allow_ip_literals": "no"}, "1.2.3.4", True),
    ({"allow": ["*"], "deny": ["evil.com"]}, "evil.com", False),
    ({"allow": ["*"], "deny": ["evil.com"]}, "evil.com:1234", False),
    ({"allow": ["*"], "deny": ["evil.com"]}, "EVIL.com", False),
    ({"allow": ["*"], "deny": ["evil.com"]}, "not.evil.com", True),
    ({"allow": ["*"], "deny": ["*.evil.com"]}, "not.evil.com", False),
    ({"allow": ["*"], "deny": [5, None]}, "a.example", True),
    ({"allow": ["a.?xample"]}, "a.example", True),
    ({"allow": ["a.example"]}, "b.example", False),
    ({"allow": "*"}, "a.example", False),
    ({}, "a.example", False),
]


@pytest.mark.parametrize(("content", "server", "allowed"), ACL_CASES)
def test_server_acl(content: dict[str, Any], server: str, allowed: bool) -> None:
    assert server_acl(content).allows(server) is allowed
