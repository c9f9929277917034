"""What /sync answers mean: which state goes beside a timeline, the sections, and how a client folds answers.

Numbers stand for keys and events, so that nothing here knows where they are kept.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from attrs import define, field


def state_before_timeline(
    final: Mapping[int, int | None], sent: Collection[int], at_start: Mapping[int, int]
) -> list[int]:
    """The events of `state`: with the timeline after them, a client arrives at `final` [cs "/sync" `state`].

    `final` is what changed (or all, for a whole state), `sent` the keys that the timeline's events set, `at_start` the
    values of those keys where the timeline starts.
    """
    told = {key: nid for key, nid in final.items() if key not in sent and nid is not None}
    told |= {key: nid for key, nid in at_start.items() if key in sent}
    return list(told.values())


def room_section(
    *,
    timeline: Mapping[str, Any],
    state: tuple[str, list[Any]],
    account_data: list[Any],
    ephemeral: list[Any] | None = None,
    summary: Mapping[str, Any] | None = None,
    unread: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One room of `join`, or of `leave` without `ephemeral`."""
    section: dict[str, Any] = {
        "timeline": timeline,
        state[0]: {"events": state[1]},
        "account_data": {"events": account_data},
    }
    if ephemeral is not None:
        section["ephemeral"] = {"events": ephemeral}
        section["summary"] = summary or {}
        section.update(unread or {})
    return section


def receipts_events(receipts: Iterable[tuple[str, str, str, str, int]]) -> list[dict[str, Any]]:
    """m.receipt events of (event_id, kind, user_id, thread_id or "", ts) [cs "m.receipt"].

    One event has room for one receipt of a user and kind at an event; a second one, of another thread, goes into
    another event.
    """
    contents: list[dict[str, Any]] = []
    for event_id, kind, user_id, thread_id, ts in receipts:
        data: dict[str, Any] = {"ts": ts}
        if thread_id:
            data["thread_id"] = thread_id
        for content in contents:
            if user_id not in content.get(event_id, {}).get(kind, {}):
                break
        else:
            content = {}
            contents.append(content)
        content.setdefault(event_id, {}).setdefault(kind, {})[user_id] = data
    return [{"type": "m.receipt", "content": content} for content in contents]


@define
class FoldedRoom:
    """What a client knows of a room."""

    state: dict[tuple[str, str], str] = field(factory=dict)  # event ids
    timeline: list[str] = field(factory=list)
    senders: set[str] = field(factory=set)
    receipts: dict[tuple[str, str, str], str] = field(factory=dict)
    typing: frozenset[str] = frozenset()
    account_data: dict[str, Any] = field(factory=dict)
    unread: Any = None


@define
class FoldedClient:
    """What a client knows after the answers it took: any sequence of them must come to the same."""

    joined: dict[str, FoldedRoom] = field(factory=dict)
    others: dict[str, str] = field(factory=dict)  # room_id -> "invite", "knock" or "leave"
    account_data: dict[str, Any] = field(factory=dict)

    def take(self, answer: Mapping[str, Any]) -> None:
        """Fold one decoded answer in."""
        for event in answer.get("account_data", {}).get("events", ()):
            self.account_data[event["type"]] = event["content"]
        rooms = answer.get("rooms", {})
        for room_id, section in rooms.get("join", {}).items():
            self.others.pop(room_id, None)
            _fold_room(self.joined.setdefault(room_id, FoldedRoom()), section)
        for part in ("invite", "knock", "leave"):
            for room_id in rooms.get(part, {}):
                self.joined.pop(room_id, None)
                self.others[room_id] = part


def _fold_room(room: FoldedRoom, section: Mapping[str, Any]) -> None:
    timeline = section["timeline"]
    if timeline["limited"]:
        room.timeline.clear()
        room.senders.clear()
    room.timeline += [event["event_id"] for event in timeline["events"]]
    room.senders |= {event["sender"] for event in timeline["events"]}
    after = section.get("state_after")
    states = after["events"] if after is not None else [*section["state"]["events"], *timeline["events"]]
    for event in states:
        if "state_key" in event:
            room.state[event["type"], event["state_key"]] = event["event_id"]
    for event in section["account_data"]["events"]:
        room.account_data[event["type"]] = event["content"]
    room.unread = section["unread_notifications"], section.get("unread_thread_notifications")
    for event in section["ephemeral"]["events"]:
        _fold_ephemeral(room, event)


def _fold_ephemeral(room: FoldedRoom, event: Mapping[str, Any]) -> None:
    if event["type"] == "m.typing":
        room.typing = frozenset(event["content"]["user_ids"])
        return
    for event_id, kinds in event["content"].items():
        for kind, users in kinds.items():
            for user_id, data in users.items():
                room.receipts[user_id, kind, data.get("thread_id", "")] = event_id
