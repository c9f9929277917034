"""Who may invite a user, by their account data; which may hold anything."""

from typing import Any

import pytest

from homeserver.core.unwanted import Invited, ignored_users, invite_rules

WELCOME, IGNORED, BLOCKED = Invited.WELCOME, Invited.IGNORED, Invited.BLOCKED
BLOCK_ALL = {"default_action": "block"}


@pytest.mark.parametrize(
    ("config", "lists", "inviter", "verdict"),
    [
        (None, None, "@a:b", WELCOME),
        ({}, {}, "@a:b", WELCOME),
        (BLOCK_ALL, None, "@a:b", BLOCKED),
        ({"default_action": "allow"}, None, "@a:b", WELCOME),
        ({"default_action": ["block"]}, 7, "@a:b", WELCOME),
        (BLOCK_ALL, {"allowed_users": ["@a:*"]}, "@a:b", WELCOME),
        (None, {"blocked_servers": ["*.evil", "b"]}, "@a:b", BLOCKED),
        (None, {"blocked_servers": ["*.evil"]}, "@a:b", WELCOME),
        (None, {"blocked_servers": ["*.evil"]}, "@a:very.evil", BLOCKED),
        (None, {"blocked_servers": ["b:*"]}, "@a:b:8448", BLOCKED),
        (None, {"ignored_users": ["@a:b"], "blocked_users": ["@a:b"]}, "@a:b", IGNORED),
        (None, {"allowed_users": ["@a:b"], "blocked_servers": ["*"]}, "@a:b", WELCOME),
        (None, {"blocked_users": ["@a:b"], "allowed_servers": ["b"]}, "@a:b", BLOCKED),
        (None, {"enabled": False, "blocked_servers": ["*"]}, "@a:b", WELCOME),
        (None, {"blocked_servers": "*"}, "@a:b", WELCOME),
        (None, {"blocked_servers": [None, {}, "*"]}, "@a:b", BLOCKED),
        ([], "x", "@a:b", WELCOME),
    ],
)
def test_invites(config: Any, lists: Any, inviter: str, verdict: Invited) -> None:
    assert invite_rules(config, lists).judge(inviter) is verdict


@pytest.mark.parametrize(
    ("content", "ignored"),
    [
        ({"ignored_users": {"@a:b": {}}}, {"@a:b"}),
        ({"ignored_users": ["@a:b"]}, set()),
        ({}, set()),
        (None, set()),
        ([], set()),
    ],
)
def test_ignored_users(content: Any, ignored: set[str]) -> None:
    assert ignored_users(content) == ignored
