"""What rooms of sliding sync look like to clients: one form inside, that of [MSC4186], and the older one beside it."""

from collections.abc import Mapping
from typing import Any

NO_COUNTS: Mapping[str, int] = {"notification_count": 0, "highlight_count": 0}

GONE = "gone"  # inside only: stubs, which stand among the required state
_OLDER_NAMES = {"stripped_state": "invite_state", "expanded_timeline": "unstable_expanded_timeline"}


def newer_form(room: Mapping[str, Any]) -> dict[str, Any]:
    """A room as [MSC4186] has it: without the counts, which clients have to keep themselves."""
    told = {name: value for name, value in room.items() if name not in NO_COUNTS and name != GONE}
    if GONE in room:
        told["required_state"] = [*room.get("required_state", ()), *room[GONE]]
    return told


def older_form(room: Mapping[str, Any]) -> dict[str, Any]:
    """A room as the unstable path tells it. State that has gone cannot be told in this form."""
    return {
        _OLDER_NAMES.get(name, name): value for name, value in room.items() if name not in (GONE, "lists")
    }


def stub(key: tuple[str, str]) -> dict[str, str]:
    """State that has gone [MSC4186 "StateStub"]."""
    return {"type": key[0], "state_key": key[1]}


def hero(user_id: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Somebody by whom a room without a name is called [MSC4186 "Hero"]."""
    told: dict[str, Any] = {"user_id": user_id}
    for name in ("displayname", "avatar_url"):
        value = content.get(name)
        if isinstance(value, str):
            told[name] = value
    return told
