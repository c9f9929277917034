"""What may be lost on the way to one server: typing, presence, receipts; only the newest of each is kept.

Typing and presence are lost at once when the server cannot be reached. Receipts are kept for a while and to a limited
number: they tell where others' unread counts begin. [ss "Typing Notifications", "Presence", "Receipts"]
"""

from collections.abc import Iterator
from typing import Any

from attrs import define, field

from federation.protocol.transactions import MAX_EDUS, edu_bytes
from homeserver.services.sync_passing import presence_content
from storage.outbound_edus import OutboundReceipt
from storage.presence import Presence

MAX_RECEIPTS = 500
MAX_RECEIPTS_WHEN_DOWN = 50
RECEIPTS_KEPT = 600.0  # seconds after a server has become unreachable
MAX_PRESENCES = 500
MAX_TYPING = 200

ReceiptKey = tuple[int, str, str, str]  # room_nid, user id, kind, thread id


@define(eq=False)
class Mailbox:
    """For one server."""

    _typing: dict[tuple[str, str], bool] = field(factory=dict)  # room id, user id
    _presence: dict[str, Presence] = field(factory=dict)
    _receipts: dict[ReceiptKey, OutboundReceipt] = field(factory=dict)
    _down_since: float | None = None

    def __len__(self) -> int:
        return len(self._typing) + len(self._presence) + len(self._receipts)

    def typing(self, room_id: str, user_id: str, typing: bool) -> None:
        """A user types, or no longer."""
        _put(self._typing, (room_id, user_id), typing, MAX_TYPING)

    def presence(self, user_id: str, presence: Presence) -> None:
        """What a user is now."""
        _put(self._presence, user_id, presence, MAX_PRESENCES)

    def receipt(self, receipt: OutboundReceipt) -> None:
        """How far a user has read."""
        key = (receipt.room_nid, receipt.user_id, receipt.kind, receipt.thread_id)
        _put(self._receipts, key, receipt, MAX_RECEIPTS)

    def down(self, now: float) -> None:
        """The server cannot be reached: what is worth nothing later is lost."""
        self._typing.clear()
        self._presence.clear()
        if self._down_since is None:
            self._down_since = now
        for key in list(self._receipts)[:-MAX_RECEIPTS_WHEN_DOWN]:
            del self._receipts[key]
        if now - self._down_since > RECEIPTS_KEPT:
            self._receipts.clear()

    def up(self) -> None:
        """The server can be reached."""
        self._down_since = None

    def take(self, now_ms: int, room: int = MAX_EDUS) -> list[bytes]:
        """At most `room` EDUs, which leave the mailbox."""
        edus: list[bytes] = []
        if self._receipts and len(edus) < room:
            edus += self._receipt_edus(room - len(edus))
        if self._presence and len(edus) < room:
            edus.append(self._presence_edu(now_ms))
        for room_id, user_id in list(self._typing)[: room - len(edus)]:
            typing = self._typing.pop((room_id, user_id))
            edus.append(edu_bytes("m.typing", {"room_id": room_id, "user_id": user_id, "typing": typing}))
        return edus

    def _presence_edu(self, now_ms: int) -> bytes:
        push = [
            {"user_id": user_id, **presence_content(presence, now_ms)}
            for user_id, presence in self._presence.items()
        ]
        self._presence.clear()
        return edu_bytes("m.presence", {"push": push})

    def _receipt_edus(self, room: int) -> Iterator[bytes]:
        """An EDU holds one receipt of a user in a room: further ones, of other threads, go into further EDUs."""
        layers: list[dict[str, Any]] = []
        for key, receipt in list(self._receipts.items()):
            layer = next((one for one in layers if not _has(one, receipt)), None)
            if layer is None:
                if len(layers) == room:
                    continue
                layers.append(layer := {})
            data: dict[str, Any] = {"ts": receipt.ts}
            if receipt.thread_id:
                data["thread_id"] = receipt.thread_id
            kinds = layer.setdefault(receipt.room_id, {})
            kinds.setdefault(receipt.kind, {})[receipt.user_id] = {
                "data": data,
                "event_ids": [receipt.event_id],
            }
            del self._receipts[key]
        return (edu_bytes("m.receipt", layer) for layer in layers)


def _has(layer: dict[str, Any], receipt: OutboundReceipt) -> bool:
    return receipt.user_id in layer.get(receipt.room_id, {}).get(receipt.kind, {})


def _put(box: dict[Any, Any], key: Any, value: Any, most: int) -> None:
    """The newest last; the oldest give way."""
    box.pop(key, None)
    box[key] = value
    if len(box) > most:
        del box[next(iter(box))]
