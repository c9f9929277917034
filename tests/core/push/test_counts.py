"""How counts of what is unread add up."""

import pytest

from homeserver.core.push.counts import MAIN, UNREAD_COUNT, Count, Unread


def told(count: Count, *, marked: bool) -> tuple[int, int, int | None]:
    """(notifications, highlights, unread) as /sync tells them."""
    fields = count.as_json(marked=marked)
    return fields["notification_count"], fields["highlight_count"], fields.get(UNREAD_COUNT)


@pytest.mark.parametrize(
    ("marked", "total", "badge"),
    [(False, (2, 1, None), 2), (True, (2, 1, 4), 4)],
)
def test_what_only_marks_counts_where_that_is_wanted(
    marked: bool, total: tuple[int, int, int | None], badge: int
) -> None:
    unread = Unread(marked=marked)
    unread.add(MAIN, highlight=False)
    unread.add("$thread", highlight=True)
    before = unread.copy()
    unread.add(MAIN, highlight=False, notifies=False)
    unread.add("$other", highlight=False, notifies=False)
    assert told(unread.total, marked=marked) == total
    assert unread.badge == badge
    assert before.badge == 2
    threads = unread.as_fields(by_thread=True)["unread_thread_notifications"]
    assert set(threads) == ({"$thread", "$other"} if marked else {"$thread"})
    unread.read(MAIN)
    unread.read("$thread")
    assert unread.badge == (1 if marked else 0)


def test_nothing_is_told_as_nothing() -> None:
    assert Unread().as_fields(by_thread=False) == {
        "unread_notifications": {"notification_count": 0, "highlight_count": 0}
    }
    assert Unread(marked=True).as_fields(by_thread=False)["unread_notifications"][UNREAD_COUNT] == 0
