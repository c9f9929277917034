"""Canonical JSON: one text for each value, strict or lenient [appendices "Canonical JSON"]."""

import json
import math
import tracemalloc
from contextlib import suppress
from typing import Any

import canonicaljson
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.canonical_json import (
    MAX_INTEGER,
    NotCanonical,
    Unparsed,
    check,
    decode,
    decode_lenient,
    encode,
    encode_lenient,
    normalized,
    split,
)
from tests.kit.json_values import any_values, strict_values


@given(strict_values)
def test_the_fast_bytes_are_the_reference_bytes(value: Any) -> None:
    assert encode(value) == canonicaljson.encode_canonical_json(value)


@given(strict_values)
def test_strict_values_are_the_same_leniently(value: Any) -> None:
    assert encode_lenient(value) == check(value) == encode(value)
    assert decode(encode(value)) == decode_lenient(encode(value)) == value


@given(strict_values)
def test_normalizing_gives_the_value_and_its_bytes(value: Any) -> None:
    assert normalized(encode_lenient(value)) == (value, encode(value))
    assert normalized(orjson.dumps(value, option=orjson.OPT_INDENT_2)) == (value, encode(value))


@given(st.dictionaries(st.sampled_from(["state", "auth_chain", "event"]), any_values))
def test_splitting_leaves_the_elements_of_arrays_unparsed(value: Any) -> None:
    text = json.dumps(value, indent=1).encode()
    found = split(text, ("state", "auth_chain"))
    for name, member in decode_lenient(text).items():
        if name != "event" and isinstance(member, list):
            assert all(isinstance(one, Unparsed) for one in found[name])
            found[name] = [decode_lenient(one) for one in found[name]]
        assert found[name] == member


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{", b'{"state":[1,]}', b'{"state":[{}}', b'{"state":[]}x', b'{"event":"\xff"}']
)
def test_what_cannot_be_split(text: bytes) -> None:
    with pytest.raises(NotCanonical):
        split(text, ("state",))


@given(st.binary(max_size=80))
def test_decoding_raises_only_its_own_error(text: bytes) -> None:
    for decoder in (decode, decode_lenient, lambda some: split(some, ("a",))):
        with suppress(NotCanonical):
            decoder(text)


@given(any_values)
def test_encoding_raises_only_its_own_error(value: Any) -> None:
    for encoder in (encode, encode_lenient, check):
        with suppress(NotCanonical):
            encoder(value)


def test_kept_texts_are_no_larger_than_they_are() -> None:
    value = {"n": 1}
    tracemalloc.start()
    try:
        kept = [encode(value) for _ in range(1000)]
        assert tracemalloc.get_traced_memory()[0] < 100 * len(kept)
    finally:
        tracemalloc.stop()


# The examples of [appendices "Canonical JSON"], as text and as what it becomes.
EXAMPLES = [
    ("{}", "{}"),
    ('{"one": 1, "two": "Two"}', '{"one":1,"two":"Two"}'),
    ('{"b": "2", "a": "1"}', '{"a":"1","b":"2"}'),
    (
        '{"c": {"z": [1, {"y": 2, "x": 3}], "é": true}, "b": {}}',
        '{"b":{},"c":{"z":[1,{"x":3,"y":2}],"é":true}}',
    ),
    ('{"a": "日本語"}', '{"a":"日本語"}'),
    ('{"本": 2, "日": 1}', '{"日":1,"本":2}'),
    (r'{"a": "\u65E5"}', '{"a":"日"}'),
    ('{"a": null}', '{"a":null}'),
    ('{"a": -0, "b": 1e10}', None),  # an exponent makes a float
    ('{"a": -0}', '{"a":0}'),
    (r'{"a": "\u0000\u001F\n\/\u007f"}', '{"a":"\\u0000\\u001f\\n/\x7f"}'),
    ('{"\U0001f600": 1, "\ufb01": 2}', '{"\ufb01":2,"\U0001f600":1}'),  # by code point, not by UTF-16 unit
]


@pytest.mark.parametrize(("text", "canonical"), EXAMPLES)
def test_examples(text: str, canonical: str | None) -> None:
    if canonical is None:
        with pytest.raises(NotCanonical):
            decode(text.encode())
    else:
        assert encode(decode(text.encode())).decode() == canonical


REFUSED = [
    "1.5",
    "1.0",
    "1e3",
    str(MAX_INTEGER + 1),
    str(-MAX_INTEGER - 1),
    '"\\ud800"',
    "NaN",
    "",
    "{",
    "[" * 9999,
]


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:12])
def test_refused(text: str) -> None:
    with pytest.raises(NotCanonical):
        decode(text.encode())


@pytest.mark.parametrize("text", ["1.5", "123456789012345678901234567890"])
def test_older_rooms_may_hold_any_number(text: str) -> None:
    """Room versions 1 to 5 [rooms/v1 "Canonical JSON"]."""
    assert encode_lenient(decode_lenient(text.encode())).decode() == text
    with pytest.raises(NotCanonical):
        check(decode_lenient(text.encode()))


@pytest.mark.parametrize(
    "value", [1.0, math.inf, -math.inf, math.nan, {"deep": [{"null": None, "too": math.nan}]}], ids=str
)
def test_no_float_is_canonical_not_even_one_that_json_has_no_word_for(value: object) -> None:
    with pytest.raises(NotCanonical, match="floating point"):
        check({"a": None, "b": value})
