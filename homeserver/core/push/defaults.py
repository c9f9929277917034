"""The push rules every user begins with [cs "Predefined Rules"], as of v1.19."""

from typing import Any

_NOTIFY: list[Any] = ["notify"]
_SOUND: dict[str, Any] = {"set_tweak": "sound", "value": "default"}
_RING: dict[str, Any] = {"set_tweak": "sound", "value": "ring"}
_HIGHLIGHT: dict[str, Any] = {"set_tweak": "highlight"}


def default_push_rules(user_id: str) -> dict[str, Any]:
    """The content of m.push_rules of a user who has changed nothing."""
    return {
        "global": {
            "override": _override(user_id),
            "content": [],
            "room": [],
            "sender": [],
            "underride": _underride(),
        }
    }


def thread_rules() -> list[dict[str, Any]]:
    """What those have besides who subscribe to threads, under the names of today [MSC4306 "New Push Rules"]."""
    prefix, kind = ".io.element.msc4306.rule.", "io.element.msc4306.thread_subscription"
    return [
        _rule(f"{prefix}unsubscribed_thread", [{"kind": kind, "subscribed": False}], []),
        _rule(f"{prefix}subscribed_thread", [{"kind": kind, "subscribed": True}], [*_NOTIFY, _SOUND]),
    ]


def _override(user_id: str) -> list[dict[str, Any]]:
    mentions, invited = _contains("content.m\\.mentions.user_ids", user_id), _match("state_key", user_id)
    everybody = [_is("content.m\\.mentions.room", True), _may_notify("room")]
    edits = [_is("content.m\\.relates_to.rel_type", "m.replace")]
    return [
        _rule(".m.rule.master", [], [], enabled=False),
        _rule(".m.rule.suppress_notices", [_match("content.msgtype", "m.notice")], []),
        _rule(
            ".m.rule.invite_for_me",
            [_match("type", "m.room.member"), _match("content.membership", "invite"), invited],
            [*_NOTIFY, _SOUND],
        ),
        _rule(".m.rule.member_event", [_match("type", "m.room.member")], []),
        _rule(".m.rule.is_user_mention", [mentions], [*_NOTIFY, _SOUND, _HIGHLIGHT]),  # since v1.7
        _rule(".m.rule.is_room_mention", everybody, [*_NOTIFY, _HIGHLIGHT]),  # since v1.7
        _rule(".m.rule.tombstone", _state("m.room.tombstone"), [*_NOTIFY, _HIGHLIGHT]),
        _rule(".m.rule.reaction", [_match("type", "m.reaction")], []),  # since v1.7
        _rule(".m.rule.room.server_acl", _state("m.room.server_acl"), []),  # since v1.4
        _rule(".m.rule.suppress_edits", edits, []),  # since v1.9
    ]


def _underride() -> list[dict[str, Any]]:
    two = {"kind": "room_member_count", "is": "2"}
    message, encrypted = _match("type", "m.room.message"), _match("type", "m.room.encrypted")
    return [
        _rule(".m.rule.call", [_match("type", "m.call.invite")], [*_NOTIFY, _RING]),
        _rule(".m.rule.encrypted_room_one_to_one", [two, encrypted], [*_NOTIFY, _SOUND]),
        _rule(".m.rule.room_one_to_one", [two, message], [*_NOTIFY, _SOUND]),
        _rule(".m.rule.message", [message], _NOTIFY),
        _rule(".m.rule.encrypted", [encrypted], _NOTIFY),
    ]


def _rule(
    rule_id: str, conditions: list[dict[str, Any]], actions: list[Any], *, enabled: bool = True
) -> dict[str, Any]:
    return {
        "rule_id": rule_id,
        "default": True,
        "enabled": enabled,
        "conditions": conditions,
        "actions": list(actions),
    }


def _match(key: str, pattern: str) -> dict[str, Any]:
    return {"kind": "event_match", "key": key, "pattern": pattern}


def _state(kind: str) -> list[dict[str, Any]]:
    return [_match("type", kind), _match("state_key", "")]


def _is(key: str, value: Any) -> dict[str, Any]:
    return {"kind": "event_property_is", "key": key, "value": value}


def _contains(key: str, value: Any) -> dict[str, Any]:
    return {"kind": "event_property_contains", "key": key, "value": value}


def _may_notify(key: str) -> dict[str, Any]:
    return {"kind": "sender_notification_permission", "key": key}
