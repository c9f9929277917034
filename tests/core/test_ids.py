"""The identifier grammars at their edges [appendices "Identifier Grammar"]."""

from collections.abc import Callable

import pytest

from homeserver.core import ids

ROWS: list[tuple[Callable[[str], bool], str, bool]] = [
    (ids.is_user_id, "@alice:a.example", True),
    (ids.is_user_id, "@alice:a.example:8448", True),
    (ids.is_user_id, "@alice:[::1]:8448", True),
    (ids.is_user_id, "@:a.example", True),  # historical, as are the next
    (ids.is_user_id, "@Alice B/é\n:a.example", True),
    (ids.is_user_id, "@a\x00:a.example", False),
    (ids.is_user_id, "@alice", False),
    (ids.is_user_id, "@alice:", False),
    (ids.is_user_id, "alice:a.example", False),
    (ids.is_user_id, "@alice:a example", False),
    (ids.is_user_id, "@" + "a" * 244 + ":a.example", True),
    (ids.is_user_id, "@" + "a" * 245 + ":a.example", False),
    (ids.is_user_id, "@" + "é" * 123 + ":a.example", False),
    (ids.is_room_id, "!room:a.example", True),
    (ids.is_room_id, "!" + "A" * 43, True),
    (ids.is_room_id, "!" + "A" * 42, False),
    (ids.is_room_id, "!room", False),
    (ids.is_room_alias, "#a b:a.example", True),
    (ids.is_room_alias, "#:a.example", False),
    (ids.is_event_id, "$x:a.example", True),
    (ids.is_event_id, "$", False),
    (ids.is_event_id, "$\x00", False),
    (ids.is_server_name, "a.example", True),
    (ids.is_server_name, "1.2.3.4:80", True),
    (ids.is_server_name, "[::1]", True),
    (ids.is_server_name, "a_b", False),
    (ids.is_server_name, "", False),
    (ids.is_server_name, "a.example:port", False),
]


@pytest.mark.parametrize(("judge", "text", "valid"), ROWS)
def test_grammar(judge: Callable[[str], bool], text: str, valid: bool) -> None:
    assert judge(text) is valid


def test_new_accounts_follow_the_stricter_grammar() -> None:
    assert ids.is_localpart("alice.b_c-d=e/f+1", "a.example")
    assert not ids.is_localpart("Alice", "a.example")
    assert not ids.is_localpart("", "a.example")
    assert not ids.is_localpart("a" * 250, "a.example")
