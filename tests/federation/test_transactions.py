"""Transactions: their limits, and that a bad part spoils no other [ss "Transactions"]."""

from contextlib import suppress

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.protocol import transactions
from federation.protocol.transactions import Edu, InvalidTransaction, Pdu
from homeserver.core import canonical_json
from tests.kit.json_values import strict_objects

ROOM = "!r:a.example"


def body(pdus=b"[]", edus=b"[]", origin=b'"a.example"', more=b""):
    return b'{"origin":%b,"origin_server_ts":5,"pdus":%b,"edus":%b%b}' % (origin, pdus, edus, more)


@pytest.mark.parametrize(
    ("pdu", "room_id"),
    [
        (b'{"room_id": "!r:a.example", "depth": 1.50}', ROOM),  # the bytes stay as they came
        (b'{"room_id":"!r:a.example","x":123456789012345678901234567890}', ROOM),
        (b"{}", None),
        (b"7", None),
        (b"null", None),
        (b'{"room_id":7}', None),
        (b'{"room_id":"r"}', None),
        (b'{"room_id":"!r:a.example","x":"\xff"}', ROOM),  # found out when all of it is parsed
        (b"[" * 500 + b"]" * 500, None),
    ],
)
def test_one_pdu_spoils_no_other(pdu, room_id):
    good = b'{"room_id":"!r:a.example"}'
    read = transactions.parse(body(b"[%b,%b,%b]" % (good, pdu, good)))
    assert read.pdus[0] == read.pdus[2] == Pdu(good, ROOM)
    assert read.pdus[1] == Pdu(pdu, room_id)


@pytest.mark.parametrize(
    "edu",
    [
        b"{}",
        b"7",
        b'{"edu_type":7,"content":{}}',
        b'{"edu_type":"m.typing"}',
        b'{"edu_type":"m.typing","content":[]}',
        b'{"edu_type":"m.typing","content":"x"}',
        b'{"edu_type":"%b","content":{}}' % (b"x" * 300),
        b'{"edu_type":"m.typing","content":{"x":%b}}' % (b"[" * 2000 + b"]" * 2000),
    ],
)
def test_one_edu_spoils_no_other(edu):
    good = b'{"edu_type":"m.typing","content":{"a":1}}'
    read = transactions.parse(body(edus=b"[%b,%b]" % (edu, good)))
    assert read.edus == (Edu("m.typing", {"a": 1}),)
    assert read.bad_edus == 1


def test_an_abyss_spoils_nothing_else():
    good, abyss = (
        b'{"room_id":"!r:a.example","x":"]}["}',
        b'{"x":%b%b}' % (b"[{}," * 30_000, b"7" + b"]" * 30_000),
    )
    edu = b'{"edu_type":"m.typing","content":{"a":"\\"]"}}'
    read = transactions.parse(body(b"[%b, %b,%b]" % (good, abyss, good), b"[%b,%b]" % (abyss, edu)))
    assert read.pdus == (Pdu(good, ROOM), Pdu(b"null"), Pdu(good, ROOM))
    assert (read.edus, read.bad_edus) == ((Edu("m.typing", {"a": '"]'}),), 1)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"[" * 2_000_000,  # no time is spent on it
        body(more=b',"x":' + b"[" * 5000 + b"]" * 4999),
        b"{}",
        b'{"origin":"a.example"}',
        body(origin=b"7"),
        body(origin=b'"a/b"'),
        body(pdus=b"{}"),
        body(pdus=b"[{]"),
        body(pdus=b"[%b]" % b",".join([b"{}"] * 51)),  # "at most 50 PDUs and 100 EDUs"
        body(edus=b"[%b]" % b",".join([b"{}"] * 101)),
    ],
)
def test_no_transaction(text):
    with pytest.raises(InvalidTransaction):
        transactions.parse(text)


def test_full_transactions_are_read():
    text = body(b"[%b]" % b",".join([b"{}"] * 50), b"[%b]" % b",".join([b"{}"] * 100))
    assert len(transactions.parse(text).pdus) == 50


@pytest.mark.parametrize(
    "text", [b'{"origin":"a.example","pdus":[]}', b'{"origin":"a.example","pdus":null,"edus":null}']
)
def test_what_may_be_missing(text):
    read = transactions.parse(text)
    assert (read.pdus, read.edus) == ((), ())


@given(st.binary(max_size=80) | st.binary(max_size=20).map(lambda some: body(b"[%b]" % some, b"[%b]" % some)))
def test_parsing_raises_only_its_own_error(text):
    with suppress(InvalidTransaction):
        transactions.parse(text)


@given(st.lists(strict_objects, max_size=3), st.lists(strict_objects, max_size=3))
def test_what_is_built_is_canonical_and_is_read_again(pdus, contents):
    edus = [Edu("m.presence", content) for content in contents]
    sent = [canonical_json.encode(pdu) for pdu in pdus]
    told = [transactions.edu_bytes(edu.type, edu.content) for edu in edus]
    text = transactions.build("a.example", 5, pdus=sent, edus=told)
    assert canonical_json.encode(orjson.loads(text)) == text
    read = transactions.parse(text)
    assert (read.origin, read.origin_server_ts, list(read.edus)) == ("a.example", 5, edus)
    assert [pdu.json for pdu in read.pdus] == sent
