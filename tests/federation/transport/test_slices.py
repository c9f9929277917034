"""The parser in slices agrees with the one that takes all at once, however the text is cut."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.transport import slices
from federation.transport.slices import NotAnObject, SlicedObject
from homeserver.core import canonical_json

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4)
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=5)


def parsed(text, size):
    sliced = SlicedObject()
    for begin in range(0, len(text), size):
        sliced.feed(text[begin : begin + size])
    return sliced.finish()


@given(OBJECTS, st.integers(1, 40), st.sampled_from([None, 1]), st.booleans())
def test_any_object_in_any_slices(value, size, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    assert parsed(text, size) == value


@given(
    st.binary(max_size=60) | OBJECTS.map(lambda value: json.dumps(value).encode()[:-1]), st.integers(1, 20)
)
def test_anything_else_is_refused(text, size):
    try:
        expected = canonical_json.decode_lenient(text)
    except canonical_json.NotCanonical:
        expected = None
    if isinstance(expected, dict):
        assert parsed(text, size) == expected
    else:
        with pytest.raises(NotAnObject):
            parsed(text, size)


BAD = [
    b"",
    b"[]",
    b"{",
    b'{"a"}',
    b'{"a":1,}',
    b'{"a":[1,]}',
    b'{"a":[1 2]}',
    b'{"a":{"b":1,}}',
    b'{"a":NaN}',
    b'{"a":-Infinity}',
    b'{"a":1}x',
    b'{"a":1}{}',
    b"{1:2}",
    b'{"a":"\\ud800"}',
    b'{"a":"\\udc00\\ud800"}',
    b'{"a":' + b"[" * 100_000,
    b'{"a":' + b"9" * 5000 + b"}",
    b'{"a":"\x01"}',
]


@pytest.mark.parametrize("size", [1, 5, 1 << 20])
@pytest.mark.parametrize("text", BAD)
def test_what_is_no_json_object(text, size):
    with pytest.raises(NotAnObject):
        parsed(text, size)


def test_a_part_may_not_be_endless(monkeypatch):
    monkeypatch.setattr(slices, "MAX_PIECE", 1000)
    with pytest.raises(NotAnObject, match="too large"):
        parsed(b'{"a":"' + b"x" * 10_000 + b'"}', 100)


def test_many_parts_may_be_long(monkeypatch):
    monkeypatch.setattr(slices, "MAX_PIECE", 1000)
    text = json.dumps({"a": ["x" * 100] * 1000}).encode()
    assert len(parsed(text, 64)["a"]) == 1000
