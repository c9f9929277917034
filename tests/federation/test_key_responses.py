"""Published keys and notaries: what is said, and what is believed of what others say [ss "Retrieving server keys"]."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signedjson.key import generate_signing_key, get_verify_key
from signedjson.sign import sign_json, verify_signed_json

from federation.protocol import key_queries, key_responses
from federation.protocol.key_queries import InvalidQuery
from federation.protocol.key_responses import DAY, MAX_LIFETIME, InvalidKeys, RetiredKey
from homeserver.core import canonical_json
from homeserver.core.hashing import unpadded
from homeserver.core.receipt_checks import ServerKey
from tests.kit.json_values import any_values

NOW = 1_800_000_000_000
HOUR = 3_600_000
KEY, OTHER, OLD = (generate_signing_key(version) for version in ("a_1", "b_2", "0"))
NOTARY = generate_signing_key("n")
PUBLIC = unpadded(get_verify_key(KEY).encode())
ABSENT = object()


def answer(keys=(KEY,), **changes):
    """An answer of a.example, signed with `keys` as it is after `changes`."""
    said = {
        "server_name": "a.example",
        "valid_until_ts": NOW + DAY,
        "verify_keys": {"ed25519:a_1": {"key": PUBLIC}},
        "old_verify_keys": {},
        **changes,
    }
    said = {name: value for name, value in said.items() if value is not ABSENT}
    for key in keys:
        sign_json(said, "a.example", key)
    return said


def read(said, now=NOW):
    return key_responses.parse(canonical_json.encode(said), "a.example", now)


def test_what_we_publish_is_believed():
    said = key_responses.publish("a.example", KEY, [RetiredKey(get_verify_key(OLD), NOW - DAY)], NOW)
    verify_signed_json(said, "a.example", get_verify_key(KEY))
    assert (
        said["valid_until_ts"] - NOW >= HOUR
    )  # "avoid returning responses that expire in less than an hour"
    published = read(said)
    assert published.keys == {
        "ed25519:a_1": ServerKey(get_verify_key(KEY), said["valid_until_ts"]),
        "ed25519:0": ServerKey(get_verify_key(OLD), NOW - DAY, retired=True),
    }
    assert published.said == said


@pytest.mark.parametrize(
    ("told", "believed"),
    [
        (NOW + DAY, NOW + DAY),
        (NOW - DAY, NOW - DAY),
        (NOW + 8 * DAY, NOW + MAX_LIFETIME),  # "the lesser of this field and 7 days into the future"
        (canonical_json.MAX_INTEGER, NOW + MAX_LIFETIME),
    ],
)
def test_validity(told, believed):
    published = read(answer(valid_until_ts=told))
    assert published.valid_until_ts == believed
    assert published.keys["ed25519:a_1"].valid_until_ts == believed


def test_answers_are_asked_again_after_half_their_life():
    assert read(answer()).fresh_until(NOW) == NOW + DAY // 2
    assert read(answer(valid_until_ts=NOW - 1)).fresh_until(NOW) == NOW


@pytest.mark.parametrize(
    "said",
    [
        [],
        {},
        answer(server_name="b.example"),
        answer(server_name=ABSENT),
        answer(valid_until_ts=ABSENT),
        answer(valid_until_ts=-1),
        answer(valid_until_ts="1"),
        answer(valid_until_ts=True),
        answer(verify_keys=ABSENT),
        answer(verify_keys={}),
        answer(verify_keys=[]),
        answer(keys=()),
        answer(keys=(OTHER,)),  # not with a key of its own
        {**answer(), "signatures": []},
        {**answer(), "signatures": {"a.example": "x"}},
        {**answer(), "signatures": {"a.example": {"ed25519:a_1": 7}}},
        {**answer(), "valid_until_ts": NOW + 2 * DAY},  # changed after signing
        answer(
            keys=(OLD,), old_verify_keys={"ed25519:0": {"key": PUBLIC, "expired_ts": 1}}
        ),  # old keys sign no answer
    ],
)
def test_not_believed(said):
    with pytest.raises(InvalidKeys):
        read(said)


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("ed25519:b_2", {"key": "short"}),
        ("ed25519:b_2", {"key": "!"}),
        ("ed25519:b_2", {"key": "é"}),
        ("ed25519:b_2", {"key": 7}),
        ("ed25519:b_2", {}),
        ("ed25519:b_2", 7),
        ("ed25519:b 2", {"key": PUBLIC}),
        ("ed25519", {"key": PUBLIC}),
        ("rsa:1", {"key": PUBLIC}),  # an algorithm of the future
    ],
)
def test_a_key_that_cannot_be_read_spoils_no_other(name, entry):
    said = answer(
        verify_keys={"ed25519:a_1": {"key": PUBLIC}, name: entry},
        old_verify_keys={name: {**entry, "expired_ts": 1} if isinstance(entry, dict) else entry},
    )
    assert set(read(said).keys) == {"ed25519:a_1"}


@pytest.mark.parametrize(
    ("expired", "believed"),
    [(1, 1), (NOW - 1, NOW - 1), (canonical_json.MAX_INTEGER, NOW + MAX_LIFETIME), (None, None), ("1", None)],
)
def test_retired_keys(expired, believed):
    entry = {"key": PUBLIC, "expired_ts": expired}
    key = read(answer(old_verify_keys={"ed25519:0": entry})).keys.get("ed25519:0")
    assert (key and key.valid_until_ts) == believed


def test_a_wrong_signature_beside_a_good_one_is_refused():
    both = {"ed25519:a_1": {"key": PUBLIC}, "ed25519:b_2": {"key": unpadded(get_verify_key(OTHER).encode())}}
    assert len(read(answer(keys=(KEY,), verify_keys=both)).keys) == 2
    said = answer(keys=(KEY, OTHER), verify_keys=both)
    said["signatures"]["a.example"]["ed25519:b_2"] = said["signatures"]["a.example"]["ed25519:a_1"]
    with pytest.raises(InvalidKeys):
        read(said)


def test_long_answers_are_refused():
    with pytest.raises(InvalidKeys):
        key_responses.parse(b" " * (key_responses.MAX_BYTES + 1), "a.example", NOW)


@given(
    any_values, st.sampled_from(["verify_keys", "old_verify_keys", "signatures", "valid_until_ts", "more"])
)
def test_checking_raises_only_its_own_error(value, name):
    with suppress(InvalidKeys):
        key_responses.check({**answer(), name: value}, "a.example", NOW)


@given(st.binary(max_size=60))
def test_parsing_raises_only_its_own_error(body):
    with suppress(InvalidKeys):
        key_responses.parse(body, "a.example", NOW)


# --- notaries [ss "Querying Keys Through Another Server"]

WANTED = {"a.example": {"ed25519:a_1": NOW}}
NOTARY_KEYS = {"ed25519:n": get_verify_key(NOTARY)}


def through_notary(*said):
    body = canonical_json.encode({"server_keys": list(said)})
    return key_queries.parse_answer(body, WANTED, notary="n.example", notary_keys=NOTARY_KEYS, now=NOW)


def test_a_notary_signs_beside_the_server():
    said = answer()
    passed_on = key_responses.countersign(said, "n.example", NOTARY)
    assert set(passed_on["signatures"]) == {"a.example", "n.example"}
    assert set(said["signatures"]) == {"a.example"}
    assert [one.server_name for one in through_notary(passed_on)] == ["a.example"]


@pytest.mark.parametrize(
    "said",
    [
        7,
        {},
        answer(),  # without the notary's signature
        key_responses.countersign(answer(), "n.example", OTHER),
        key_responses.countersign(
            {**answer(), "server_name": "b.example"}, "n.example", NOTARY
        ),  # not asked for
        key_responses.countersign(
            {**answer(), "signatures": {}}, "n.example", NOTARY
        ),  # not the server's own word
    ],
)
def test_bad_parts_of_a_notarys_answer_are_left_out(said):
    good = key_responses.countersign(answer(), "n.example", NOTARY)
    assert [one.said for one in through_notary(said, good)] == [good]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"server_keys":{}}', b'{"server_keys":[1.5]}'])
def test_no_answer_of_a_notary(body):
    with pytest.raises(InvalidKeys):
        key_queries.parse_answer(body, WANTED, notary="n.example", notary_keys=NOTARY_KEYS, now=NOW)


def test_queries_are_read_as_they_are_built():
    assert key_queries.parse_query(key_queries.build_query(WANTED), NOW + 1) == WANTED


@pytest.mark.parametrize(
    ("asked", "read_as"),
    [
        ({}, {}),
        ({"a.example": {}}, {"a.example": {}}),  # "the notary server should query for all keys"
        # "If not supplied, the notary server MUST use the current time."
        ({"a.example": {"ed25519:1": {}}}, {"a.example": {"ed25519:1": NOW}}),
    ],
)
def test_queries(asked, read_as):
    assert key_queries.parse_query({"server_keys": asked}, NOW) == read_as


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"server_keys": []},
        {"server_keys": {"a/b": {}}},
        {"server_keys": {"a.example": []}},
        {"server_keys": {"a.example": {"ed25519:1": 7}}},
        {"server_keys": {"a.example": {"ed25519:1": {"minimum_valid_until_ts": "1"}}}},
        {"server_keys": {f"{number}.example": {} for number in range(key_queries.MAX_SERVERS + 1)}},
    ],
)
def test_queries_that_cannot_be_answered(body):
    with pytest.raises(InvalidQuery):
        key_queries.parse_query(body, NOW)
