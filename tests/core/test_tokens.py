"""Tokens: what is read back, and what is refused."""

import pytest

from homeserver.core.errors import MatrixError
from homeserver.core.tokens import SyncToken, page_token, parse_page_token, parse_sync_token


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("s0", SyncToken(0)),
        ("s17", SyncToken(17)),
        ("s17_9", SyncToken(17, 9)),
        ("t17", SyncToken(17)),  # a page's end continues a sync
    ],
)
def test_sync_tokens(text: str, token: SyncToken) -> None:
    assert parse_sync_token(text) == token
    assert parse_sync_token(str(token)) == token


@pytest.mark.parametrize("text", ["", "s", "17", "s-1", "s1_", "s1_-2", "s٣", "s1 ", "s1\n", "s" + "9" * 30])
def test_what_is_no_sync_token(text: str) -> None:
    with pytest.raises(MatrixError, match="M_INVALID_PARAM"):
        parse_sync_token(text)


@pytest.mark.parametrize(
    ("text", "position"), [("s17", 17), ("s17_9", 17), ("t-4", -4), (page_token(-4), -4)]
)
def test_page_tokens(text: str, position: int) -> None:
    assert parse_page_token(text) == position
