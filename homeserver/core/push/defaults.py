"""The push rules every user begins with [cs "Predefined Rules"], as of v1.19.

Until v1.16 there were three more, which find mentions in what messages say. A server may have them still, for people
whose clients do not say otherwise whom they mention.
"""

from typing import Any, Final

from homeserver.core.ids import localpart_of

CONTAINS_DISPLAY_NAME: Final = ".m.rule.contains_display_name"
CONTAINS_USER_NAME: Final = ".m.rule.contains_user_name"
ROOMNOTIF: Final = ".m.rule.roomnotif"
ROOM_WORD: Final = "@room"
_NOTIFY: list[Any] = ["notify"]
_SOUND: dict[str, Any] = {"set_tweak": "sound", "value": "default"}
_RING: dict[str, Any] = {"set_tweak": "sound", "value": "ring"}
_HIGHLIGHT: dict[str, Any] = {"set_tweak": "highlight"}
_LOUD: list[Any] = [*_NOTIFY, _SOUND, _HIGHLIGHT]


def default_push_rules(user_id: str, *, mentions_in_text: bool = False) -> dict[str, Any]:
    """The content of m.push_rules of a user who has changed nothing."""
    return {
        "global": {
            "override": _override(user_id, mentions_in_text),
            "content": [_contains_user_name(user_id)] if mentions_in_text else [],
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


def _override(user_id: str, in_text: bool) -> list[dict[str, Any]]:
    mentions, invited = _contains("content.m\\.mentions.user_ids", user_id), _match("state_key", user_id)
    everybody = [_is("content.m\\.mentions.room", True), _may_notify("room")]
    edits = [_is("content.m\\.relates_to.rel_type", "m.replace")]
    named, called = (
        [{"kind": "contains_display_name"}],
        [_match("content.body", ROOM_WORD), _may_notify("room")],
    )
    until_v16 = _rule(CONTAINS_DISPLAY_NAME, named, _LOUD), _rule(ROOMNOTIF, called, [*_NOTIFY, _HIGHLIGHT])
    display_name, roomnotif = ([rule] if in_text else [] for rule in until_v16)
    return [
        _rule(".m.rule.master", [], [], enabled=False),
        _rule(".m.rule.suppress_notices", [_match("content.msgtype", "m.notice")], []),
        _rule(
            ".m.rule.invite_for_me",
            [_match("type", "m.room.member"), _match("content.membership", "invite"), invited],
            [*_NOTIFY, _SOUND],
        ),
        _rule(".m.rule.member_event", [_match("type", "m.room.member")], []),
        _rule(".m.rule.is_user_mention", [mentions], _LOUD),  # since v1.7
        *display_name,
        _rule(".m.rule.is_room_mention", everybody, [*_NOTIFY, _HIGHLIGHT]),  # since v1.7
        *roomnotif,
        _rule(".m.rule.tombstone", _state("m.room.tombstone"), [*_NOTIFY, _HIGHLIGHT]),
        _rule(".m.rule.reaction", [_match("type", "m.reaction")], []),  # since v1.7
        _rule(".m.rule.room.server_acl", _state("m.room.server_acl"), []),  # since v1.4
        _rule(".m.rule.suppress_edits", edits, []),  # since v1.9
    ]


def _contains_user_name(user_id: str) -> dict[str, Any]:
    rule = {"rule_id": CONTAINS_USER_NAME, "default": True, "enabled": True}
    return {**rule, "pattern": localpart_of(user_id), "actions": list(_LOUD)}


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
