"""When it is time for a mail."""

import pytest

from homeserver.services.push_contents import Letter
from homeserver.services.pushing.digests import LONGEST_MS, Digests
from storage.pushers import Pusher, Wish

MINUTE = 60_000
DELAY = 10 * MINUTE
NOW = 1000 * LONGEST_MS
WISH = Wish(
    kind="email",
    app_id="m.email",
    pushkey="a@example.org",
    app_display_name="",
    device_display_name="",
    lang="en",
    profile_tag=None,
    data={},
)


def due(*, told: int | None = None, mails: int = 0, badge: int = 0, unread: int = 1, ts: int = NOW) -> int:
    digests = Digests(None, None, "", "localhost", DELAY, lambda: NOW)  # type: ignore[arg-type]
    pusher = Pusher(
        nid=1, user_nid=1, wish=WISH, position=0, created_ts=0, badge=badge, last_success_ts=told, mails=mails
    )
    return digests.due(pusher, [Letter(1, ts, unread, {})])


@pytest.mark.parametrize(
    ("given", "minutes"),
    [
        ({}, 10),  # the first one
        ({"ts": NOW - 7 * MINUTE}, 3),
        ({"told": NOW - 1 * MINUTE, "mails": 1, "badge": 3, "unread": 4}, 29),  # nothing was read: 30 minutes
        ({"told": NOW - 1 * MINUTE, "mails": 2, "badge": 3, "unread": 4}, 89),
        ({"told": NOW - 1 * MINUTE, "mails": 9, "badge": 3, "unread": 4}, 24 * 60 - 1),  # a day at most
        ({"told": NOW - 1 * MINUTE, "mails": 9, "badge": 3, "unread": 1}, 10),  # something was read
        ({"told": NOW - 30 * MINUTE, "mails": 1, "badge": 3, "unread": 4, "ts": NOW - 25 * MINUTE}, 0),
        ({"ts": NOW + LONGEST_MS, "told": NOW}, 10),  # somebody's clock is wrong
    ],
)
def test_when_it_is_time(given: dict[str, int], minutes: int) -> None:
    assert due(**given) - NOW == minutes * MINUTE
