"""Conditions of push rules, and whether they hold for an event [cs "Conditions"].

A condition is compiled once into a function over `Facts`; rules come from users, so what is malformed or unknown
becomes a condition that never holds, and what is malformed in events is no error either.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define, field

from homeserver.core.event import Event
from homeserver.core.globs import glob, literal_word, word_glob
from homeserver.core.push.paths import ABSENT, path_of, value_at

_COUNT = re.compile(r"(==|<=|>=|<|>)?([0-9]{1,18})", re.ASCII)
THREAD_CONDITIONS: Final = frozenset({"thread_subscription", "io.element.msc4306.thread_subscription"})
_COMPARISONS: Final[Mapping[str, Callable[[int, int], bool]]] = {
    "==": lambda count, number: count == number,
    "<": lambda count, number: count < number,
    ">": lambda count, number: count > number,
    ">=": lambda count, number: count >= number,
    "<=": lambda count, number: count <= number,
}


@define(eq=False)
class Facts:
    """An event as its recipients' rules see it, and the room that it came to.

    `may_notify` says whether the sender may notify everybody by a mention of a kind. `display_name` is the recipient's,
    and `subscribed` says whether the recipient is subscribed to the event's thread (None: it is in none).
    """

    event: Mapping[str, Any]
    members: int
    may_notify: Callable[[str], bool]
    display_name: str | None = None
    subscribed: bool | None = None
    judged: dict[Any, bool] = field(factory=dict)  # which rules the event meets, whoever reads it
    _found: dict[str, Any] = field(factory=dict)
    _lower: str | None = None

    def value(self, key: str) -> Any:
        """What stands at a path; ABSENT where nothing does."""
        found = self._found
        if key not in found:
            found[key] = value_at(self.event, path_of(key))
        return found[key]

    @property
    def body(self) -> str | None:
        """The event's body in lower case, if it has one."""
        if self._lower is None:
            value = self.value("content.body")
            if not isinstance(value, str):
                return None
            self._lower = value.lower()
        return self._lower

    def of_reader(self, display_name: str | None, subscribed: bool | None = None) -> "Facts":
        """The same for a recipient of whom this is known."""
        return Facts(
            self.event, self.members, self.may_notify, display_name, subscribed, self.judged, self._found
        )


Condition = Callable[[Facts], bool]


def seen_by_rules(event: Event) -> dict[str, Any]:
    """What of an event the paths of conditions lead to."""
    seen = {
        "type": event.type,
        "sender": event.sender,
        "content": event.content,
        "room_id": event.room_id,
        "event_id": event.event_id,
        "origin_server_ts": event.origin_server_ts,
    }
    if event.state_key is not None:
        seen["state_key"] = event.state_key
    return seen


def unsaid(facts: Facts) -> bool:
    """Does the event not say itself whom it mentions? [cs v1.16 "Predefined Rules"]"""
    return "m.mentions" not in facts.event["content"]


def never(_: Facts) -> bool:
    """A condition that is malformed or unknown."""
    return False


def compiled(condition: Any) -> Condition:
    """The function of a condition as clients write it."""
    if not isinstance(condition, Mapping):
        return never
    kind = condition.get("kind")
    compiler = _COMPILERS.get(kind) if isinstance(kind, str) else None
    return never if compiler is None else compiler(condition)


def body_holds(pattern: str) -> Condition:
    """Is the pattern found in the event's body as a word? [cs "Push Rules"]"""
    wanted = word_glob(pattern)

    def holds(facts: Facts) -> bool:
        body = facts.body
        return body is not None and wanted.is_in(body)

    return holds


def _event_match(condition: Mapping[str, Any]) -> Condition:
    key, pattern = condition.get("key"), condition.get("pattern")
    if not isinstance(key, str) or not isinstance(pattern, str):
        return never
    if key == "content.body":
        return body_holds(pattern)
    if "*" not in pattern and "?" not in pattern:
        literal = pattern.lower()

        def equals(facts: Facts) -> bool:
            value = facts.value(key)
            return isinstance(value, str) and (value == pattern or value.lower() == literal)

        return equals
    wanted = glob(pattern, ignore_case=True)

    def matches(facts: Facts) -> bool:
        value = facts.value(key)
        return isinstance(value, str) and wanted.matches(value)

    return matches


def _event_property_is(condition: Mapping[str, Any]) -> Condition:
    key, wanted = condition.get("key"), condition.get("value", ABSENT)
    if not isinstance(key, str) or not _is_simple(wanted):
        return never

    def holds(facts: Facts) -> bool:
        return _same(facts.value(key), wanted)

    return holds


def _event_property_contains(condition: Mapping[str, Any]) -> Condition:
    key, wanted = condition.get("key"), condition.get("value", ABSENT)
    if not isinstance(key, str) or not _is_simple(wanted):
        return never

    def holds(facts: Facts) -> bool:
        values = facts.value(key)
        return isinstance(values, list) and any(_same(value, wanted) for value in values)

    return holds


def _contains_display_name(_: Mapping[str, Any]) -> Condition:
    def holds(facts: Facts) -> bool:
        body = facts.body
        if not facts.display_name or body is None:
            return False
        return literal_word(facts.display_name).is_in(body)

    return holds


def _room_member_count(condition: Mapping[str, Any]) -> Condition:
    wanted = condition.get("is")
    match = _COUNT.fullmatch(wanted) if isinstance(wanted, str) else None
    if match is None:
        return never
    compare, number = _COMPARISONS[match[1] or "=="], int(match[2])
    return lambda facts: compare(facts.members, number)


def _sender_notification_permission(condition: Mapping[str, Any]) -> Condition:
    key = condition.get("key")
    if not isinstance(key, str):
        return never
    return lambda facts: facts.may_notify(key)


def _thread_subscription(condition: Mapping[str, Any]) -> Condition:
    wanted = condition.get("subscribed")
    return (lambda facts: facts.subscribed is wanted) if isinstance(wanted, bool) else never


def _is_simple(value: Any) -> bool:
    return value is None or isinstance(value, (str, bool, int))


def _same(value: Any, wanted: Any) -> bool:
    """Equal and of one type: true is not 1."""
    return type(value) is type(wanted) and bool(value == wanted)


_COMPILERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Condition]]] = {
    "event_match": _event_match,
    "event_property_is": _event_property_is,  # since v1.7
    "event_property_contains": _event_property_contains,  # since v1.7
    "contains_display_name": _contains_display_name,  # deprecated in v1.17
    "room_member_count": _room_member_count,
    "sender_notification_permission": _sender_notification_permission,
    **dict.fromkeys(THREAD_CONDITIONS, _thread_subscription),
}
