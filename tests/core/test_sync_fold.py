"""The pure parts of sync: which state goes beside a timeline, receipts, fields."""

import pytest

from homeserver.core.sync_fold import receipts_events, state_before_timeline
from homeserver.core.sync_view import project


@pytest.mark.parametrize(
    ("final", "sent", "at_start", "told"),
    [
        ({1: 10, 2: 20}, (), {}, [10, 20]),  # nothing in the timeline: all of it
        ({1: 11}, (1,), {1: 10}, [10]),  # the timeline's event comes on top of what was before
        ({1: 11}, (1,), {}, []),  # the timeline's event was the first of its key
        ({1: None, 2: 20}, (), {}, [20]),  # a key that went away cannot be told
        ({}, (1,), {}, []),
    ],
)
def test_state_before_the_timeline(
    final: dict[int, int | None], sent: tuple[int, ...], at_start: dict[int, int], told: list[int]
) -> None:
    assert state_before_timeline(final, sent, at_start) == told


def test_receipts_of_one_user_at_one_event_need_an_event_each() -> None:
    told = receipts_events(
        [("$a", "m.read", "@u", "", 1), ("$a", "m.read", "@u", "main", 2), ("$b", "m.read", "@u", "$t", 3)]
    )
    assert [event["content"] for event in told] == [
        {"$a": {"m.read": {"@u": {"ts": 1}}}, "$b": {"m.read": {"@u": {"ts": 3, "thread_id": "$t"}}}},
        {"$a": {"m.read": {"@u": {"ts": 2, "thread_id": "main"}}}},
    ]
    assert receipts_events([]) == []


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        (("type",), {"type": "m.x"}),
        (("content.body",), {"content": {"body": "hi"}}),
        (("content.body", "content.n"), {"content": {"body": "hi", "n": {"deep": 1}}}),
        (("content.n.deep",), {"content": {"n": {"deep": 1}}}),
        (("content.dotted\\.key",), {"content": {"dotted.key": 2}}),
        (("content.body.deeper", "missing"), {}),
    ],
)
def test_event_fields(fields: tuple[str, ...], kept: dict[str, object]) -> None:
    content = {"body": "hi", "n": {"deep": 1}, "dotted.key": 2}
    assert project({"type": "m.x", "content": content}, fields) == kept
