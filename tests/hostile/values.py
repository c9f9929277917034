"""Values that nobody should send: as JSON, and as text of a path or a query."""

from typing import Any

from hypothesis import strategies as st

HUGE = 2**53
ODD_TEXTS = [
    "",
    " ",
    "\x00",
    "a\x00b",
    "\u202e\u0000",
    "💥",
    "\ud7ff\uffff\U0010ffff",
    "null",
    "..",
    "../../etc/passwd",
    "%2F",
    "%00",
    "@",
    "@:",
    "@a",
    "!",
    "!x:",
    "$",
    "#",
    "#:",
    "@" + "a" * 300 + ":b",
    "a" * 70_000,
    "-1",
    "0",
    str(HUGE),
    "9" * 400,
    "1e999",
    "NaN",
    "true",
    "s-1",
    "s" + "9" * 30,
    "t1-2_3_4",
    "(a+)+$",
    "*" * 100,
    "'; DROP TABLE events; --",
    "{}",
    "[]",
    '{"limit": 1e400}',
    '{"room": {"timeline": {"types": ["' + "*" * 50 + '"]}}}',
    '{"room": 5}',
    '{"event_fields": [7], "room": {"rooms": "x", "state": {"limit": -1, "lazy_load_members": "y"}}}',
    "m.room.create",
    "m.room.member",
    "m.room.power_levels",
    "m.",
    "invite",
    "join",
    "leave",
    "ban",
    "knock",
    "m.fully_read",
    "m.push_rules",
    "m.tag",
]


def deep(depth: int) -> Any:
    """A list in a list in a list …"""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


odd_texts = st.sampled_from(ODD_TEXTS) | st.text(max_size=20)
odd_numbers = st.sampled_from(
    [0, -1, 1, 100, HUGE - 1, HUGE, -HUGE, 2**63, 2**64 - 1, 0.5, 1e308, -0.0]
) | st.integers(min_value=-(2**63), max_value=2**63)
leaves = st.none() | st.booleans() | odd_numbers | odd_texts
odd_values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd_texts, inner, max_size=3),
    max_leaves=8,
) | st.sampled_from(
    [deep(50), deep(150), deep(199), [{}] * 500, {"a" * 1000: {}}, dict.fromkeys("abc", deep(3))]
)


@st.composite
def disturbed(draw: st.DrawFn, good: Any) -> Any:
    """`good` with something in it replaced, added or taken away; at times `good` itself."""
    if not isinstance(good, dict) or not good or draw(st.integers(0, 5)) == 0:
        return draw(st.just(good) | odd_values)
    name = draw(st.sampled_from(sorted(good)))
    action = draw(st.sampled_from(["keep", "drop", "replace", "replace", "within", "within", "add"]))
    result = dict(good)
    if action == "drop":
        del result[name]
    elif action == "replace":
        result[name] = draw(odd_values)
    elif action == "within":
        result[name] = draw(
            disturbed_list(good[name]) if isinstance(good[name], list) else disturbed(good[name])
        )
    elif action == "add":
        result[draw(odd_texts)] = draw(odd_values)
    return result


@st.composite
def disturbed_list(draw: st.DrawFn, good: list[Any]) -> Any:
    """A list with one of its items disturbed."""
    if not good:
        return draw(odd_values)
    at = draw(st.integers(0, len(good) - 1))
    return [*good[:at], draw(disturbed(good[at])), *good[at + 1 :]]
