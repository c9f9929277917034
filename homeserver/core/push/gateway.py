"""What a push gateway is told, and what it answers [push-gateway "POST /_matrix/push/v1/notify"]."""

from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from homeserver.core.event import Event

EVENT_ID_ONLY: Final = "event_id_only"
HIGH, LOW = "high", "low"


@frozen(kw_only=True)
class Addressee:
    """The device that is told: what its app gave when it set up the pusher."""

    app_id: str
    pushkey: str
    pushkey_ts: int  # seconds
    data: Mapping[str, Any]

    def as_json(self, tweaks: Mapping[str, Any] | None) -> dict[str, Any]:
        """An item of `devices`."""
        told: dict[str, Any] = {
            "app_id": self.app_id,
            "pushkey": self.pushkey,
            "pushkey_ts": self.pushkey_ts,
            "data": {name: value for name, value in self.data.items() if name != "url"},
        }
        return told if tweaks is None else {**told, "tweaks": dict(tweaks)}


@frozen(kw_only=True)
class Surroundings:
    """Where an event happened, in words for people."""

    room_name: str | None = None
    room_alias: str | None = None
    sender_name: str | None = None


def about_event(
    event: Event,
    to: Addressee,
    *,
    user_id: str,
    tweaks: Mapping[str, Any],
    unread: int,
    around: Surroundings,
) -> dict[str, Any]:
    """The body about an event, in the form that the pusher wants."""
    told: dict[str, Any] = {
        "event_id": event.event_id,
        "room_id": event.room_id,
        "counts": _counts(unread),
        "prio": priority(event, tweaks),
    }
    if to.data.get("format") == EVENT_ID_ONLY:
        return {"notification": {**told, "devices": [to.as_json(None)]}}
    told |= {
        "id": event.event_id,  # COMPAT(gateways of before r0.1, SyTest): the name that it had
        "type": event.type,
        "sender": event.sender,
        "content": event.content,
        "devices": [to.as_json(tweaks)],
    }
    if event.type == "m.room.member":
        told["user_is_target"] = event.state_key == user_id
        membership = event.content.get("membership")
        told |= {"membership": membership} if isinstance(membership, str) else {}  # COMPAT(as with `id`)
    named = {
        # Apps show the name alone: so it is the one that people see [cs "Calculating the display name for a room"].
        "room_name": around.room_name or around.room_alias,
        "room_alias": around.room_alias,
        "sender_display_name": around.sender_name,
    }
    told |= {name: value for name, value in named.items() if value}
    return {"notification": told}


def about_counts(to: Addressee, unread: int) -> dict[str, Any]:
    """The body that only says how much is unread now.

    That is said even if it is nothing: gateways clear the badge of an app when they read 0, and pass on no push
    that says nothing at all. A count of zero *should* be left out [push-gateway "POST /_matrix/push/v1/notify"].
    """
    return {"notification": {"counts": {"unread": unread}, "devices": [to.as_json(None)], "prio": LOW}}


def priority(event: Event, tweaks: Mapping[str, Any]) -> str:
    """Must somebody be alerted now? What is encrypted may be anything."""
    urgent = event.type == "m.room.encrypted" or tweaks.get("highlight") or tweaks.get("sound")
    return HIGH if urgent else LOW


def rejected_keys(answer: Any) -> list[str]:
    """The pushkeys that a gateway says are no good any more; none where the answer is of another shape."""
    keys = answer.get("rejected") if isinstance(answer, Mapping) else None
    return [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []


def _counts(unread: int) -> dict[str, int]:
    return {"unread": unread} if unread else {}
