"""What may be lost: only the newest of each, in the form the specification gives it."""

import orjson

from federation import mailbox
from federation.mailbox import Mailbox
from storage.outbound_edus import OutboundReceipt
from storage.presence import Presence

ALICE, BOB = "@alice:example.org", "@bob:example.org"


def receipt(event_id: str, *, user: str = ALICE, room: int = 1, thread: str = "") -> OutboundReceipt:
    return OutboundReceipt(1, room, f"!{room}:example.org", user, "m.read", thread, event_id, 1_000)


def said(box: Mailbox, room: int = 100) -> list[tuple[str, object]]:
    edus = [orjson.loads(edu) for edu in box.take(5_000, room)]
    return [(edu["edu_type"], edu["content"]) for edu in edus]


def test_only_the_newest_receipt_of_each_kind_and_thread_is_told():
    box = Mailbox()
    for one in (receipt("$1"), receipt("$2"), receipt("$3", thread="$t"), receipt("$4", user=BOB)):
        box.receipt(one)
    box.receipt(receipt("$5", room=2))
    data = {"ts": 1_000}
    assert said(box) == [
        (
            "m.receipt",
            {
                "!1:example.org": {
                    "m.read": {
                        ALICE: {"data": data, "event_ids": ["$2"]},
                        BOB: {"data": data, "event_ids": ["$4"]},
                    }
                },
                "!2:example.org": {"m.read": {ALICE: {"data": data, "event_ids": ["$5"]}}},
            },
        ),
        (
            "m.receipt",
            {
                "!1:example.org": {
                    "m.read": {ALICE: {"data": {**data, "thread_id": "$t"}, "event_ids": ["$3"]}}
                }
            },
        ),
    ]
    assert said(box) == []


def test_presence_and_typing():
    box = Mailbox()
    box.presence(ALICE, Presence(1, "online", None, 4_000))
    box.presence(ALICE, Presence(1, "unavailable", "out", 4_000))
    box.typing("!r:example.org", BOB, True)
    box.typing("!r:example.org", BOB, False)
    told = {"user_id": ALICE, "presence": "unavailable", "last_active_ago": 1_000, "status_msg": "out"}
    assert said(box) == [
        ("m.presence", {"push": [told]}),
        ("m.typing", {"room_id": "!r:example.org", "user_id": BOB, "typing": False}),
    ]


def test_what_does_not_fit_waits():
    box = Mailbox()
    for number in range(5):
        box.typing(f"!{number}:example.org", ALICE, True)
        box.receipt(receipt("$1", thread=f"$t{number}"))
    assert [len(said(box, 3)) for _ in range(5)] == [3, 3, 3, 1, 0]


def test_little_is_kept_for_a_server_that_is_down():
    box = Mailbox()
    box.typing("!r:example.org", BOB, True)
    box.presence(ALICE, Presence(1, "online", None, 4_000))
    for number in range(mailbox.MAX_RECEIPTS + 10):
        box.receipt(receipt("$1", room=number))
    assert len(box) == mailbox.MAX_RECEIPTS + 2
    box.down(0.0)
    assert len(box) == mailbox.MAX_RECEIPTS_WHEN_DOWN
    box.down(mailbox.RECEIPTS_KEPT + 1)
    assert len(box) == 0
