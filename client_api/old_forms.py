"""Events as clients of the first API know them: where they happened and who sent them is said in each.

COMPAT(clients of the first API): the sender is called `user_id` too, in presence as well.
"""

from collections.abc import Iterable, Mapping
from typing import Any


def old_event(room_id: str, event: Mapping[str, Any]) -> dict[str, Any]:
    """Something of a room that a sync tells: an event, or what passes by."""
    told = {**event, "room_id": room_id}
    return {**told, "user_id": event["sender"]} if "sender" in event else told


def old_events(room_id: str, events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same of several."""
    return [old_event(room_id, event) for event in events]


def old_presence(events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Presence, with the user in its content."""
    return [{**one, "content": {"user_id": one["sender"], **one["content"]}} for one in events]


def old_sections(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All that a sync tells, one after the other, as /events does."""
    chunk = old_presence(told.get("presence", {}).get("events", []))
    chunk += told.get("account_data", {}).get("events", [])
    rooms = told.get("rooms", {})
    for part in ("join", "leave"):
        for room_id, room in rooms.get(part, {}).items():
            for name in ("timeline", "ephemeral", "account_data"):
                chunk += old_events(room_id, room.get(name, {}).get("events", []))
    for part, name in (("invite", "invite_state"), ("knock", "knock_state")):
        for room_id, room in rooms.get(part, {}).items():
            members = [one for one in room[name]["events"] if one.get("type") == "m.room.member"]
            chunk += old_events(room_id, members[-1:])
    return chunk


def old_room(room_id: str, room: Mapping[str, Any], membership: str, end: str) -> dict[str, Any]:
    """A room of a sync's answer as /initialSync tells it."""
    timeline = room.get("timeline", {})
    start = timeline.get("prev_batch", end)
    return {
        "room_id": room_id,
        "membership": membership,
        "messages": {"chunk": old_events(room_id, timeline.get("events", [])), "start": start, "end": end},
        "state": old_events(room_id, room.get("state_after", {}).get("events", [])),
        "account_data": room.get("account_data", {}).get("events", []),
    }


def old_receipts(rooms: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The receipts of all joined rooms."""
    return [
        {**event, "room_id": room_id}
        for room_id, room in rooms.items()
        for event in room.get("ephemeral", {}).get("events", [])
        if event["type"] == "m.receipt"
    ]
