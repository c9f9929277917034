"""The Authorization header of servers: every form it may have, and what its signature covers."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signedjson.key import decode_signing_key_base64, get_verify_key
from signedjson.sign import sign_json

from federation.protocol import x_matrix
from federation.protocol.x_matrix import InvalidHeader, SignedRequest, XMatrix
from homeserver.core import canonical_json
from tests.kit.json_values import any_values

KEY = decode_signing_key_base64("ed25519", "1", "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1")
OTHER = decode_signing_key_base64("ed25519", "1", "MJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA0")
SAID = XMatrix("a.example", "ed25519:1", "ABC+/", "b.example:8448")
OLD = XMatrix("a.example", "ed25519:1", "ABC")

# [ss "Request Authentication"]
FORMS = [
    ('X-Matrix origin="a.example",destination="b.example:8448",key="ed25519:1",sig="ABC+/"', SAID),
    # order does not matter, names are case-insensitive, and so are schemes [RFC 9110 section 11.1]
    ('x-matrix SIG="ABC+/",Key="ed25519:1",Destination="b.example:8448",ORIGIN="a.example"', SAID),
    # one or more spaces behind the scheme; blanks and tabs around commas
    (
        'X-Matrix   origin="a.example" ,\tdestination="b.example:8448", key="ed25519:1"\t,\t sig="ABC+/" ',
        SAID,
    ),
    # tokens need no quotes; older servers send colons without them
    ('X-Matrix origin=a.example,destination=b.example:8448,key=ed25519:1,sig="ABC+/"', SAID),
    # a backslash stands for the character behind it
    (r'X-Matrix origin="\a.example",destination="b.example\:8448",key="ed25519:1",sig="ABC\+/"', SAID),
    # unknown parameters are ignored, commas in quotes separate nothing
    (
        'X-Matrix v="1,sig=no",origin="a.example",destination="b.example:8448",key="ed25519:1",sig="ABC+/"',
        SAID,
    ),
    # empty elements of a list are ignored [RFC 9110 section 5.6.1]
    ('X-Matrix ,origin="a.example",,destination="b.example:8448",key="ed25519:1",sig="ABC+/",', SAID),
    # "recipients should accept requests without this parameter"
    ("X-Matrix origin=a.example,key=ed25519:1,sig=ABC", OLD),
    # the list of parameters calls it "signature"
    ("X-Matrix origin=a.example,key=ed25519:1,signature=ABC", OLD),
    ('X-Matrix origin="[::1]:8448",key="ed25519:1",sig="ABC"', XMatrix("[::1]:8448", "ed25519:1", "ABC")),
]

MALFORMED = [
    "",
    "X-Matrix",
    "Bearer abc",
    'X-Matrixorigin="a.example",key="ed25519:1",sig="ABC"',
    'X-Matrix origin="a.example",key="ed25519:1"',  # no signature
    'X-Matrix origin="a.example",sig="ABC"',
    'X-Matrix key="ed25519:1",sig="ABC"',
    'X-Matrix origin="",key="ed25519:1",sig="ABC"',
    'X-Matrix origin="a.example",key="ed25519:1",sig=""',
    'X-Matrix origin="a.example" key="ed25519:1",sig="ABC"',  # no comma
    'X-Matrix origin="a.example,key="ed25519:1",sig="ABC"',  # quotes left open
    'X-Matrix origin="a.example",origin="b.example",key="ed25519:1",sig="ABC"',  # [RFC 9110 section 11.2]
    'X-Matrix origin="a/b",key="ed25519:1",sig="ABC"',
    'X-Matrix origin="a.example",destination="@b",key="ed25519:1",sig="ABC"',
    'X-Matrix origin="a.example",key="ed25519",sig="ABC"',
    'X-Matrix origin="a.example",key="ed25519:a b",sig="ABC"',
    'X-Matrix origin="a.example",key="ed25519:1",sig=A/C',  # "/" belongs to no token
    'X-Matrix origin="a.example",key="ed25519:1",sig="' + "A" * 5000 + '"',
]


@pytest.mark.parametrize(("header", "said"), FORMS)
def test_forms(header, said):
    assert x_matrix.parse(header) == said


@pytest.mark.parametrize("header", MALFORMED)
def test_malformed(header):
    with pytest.raises(InvalidHeader):
        x_matrix.parse(header)


@given(st.text() | st.text(alphabet='origin=destinationkeysig",: \t\\').map("X-Matrix {}".format))
def test_parsing_raises_only_its_own_error(text):
    with suppress(InvalidHeader):
        x_matrix.parse(text)


def test_what_is_built_is_the_form_that_older_servers_read():
    assert x_matrix.build(SAID) == FORMS[0][0]


@pytest.mark.parametrize(
    ("destination", "ours"),
    [("b.example", True), (None, True), ("B.example", False), ("b.example:8448", False)],
)
def test_destination(destination, ours):
    assert XMatrix("a.example", "ed25519:1", "ABC", destination).is_meant_for("b.example") is ours


def request(content=None, uri="/_matrix/federation/v1/send/1?a=%20b", method="PUT"):
    return SignedRequest(method, uri, "a.example", "b.example", content)


@pytest.mark.parametrize("content", [None, {}, {"pdus": [{"é": "\u2028"}], "origin": "a.example"}])
def test_the_signature_is_that_of_the_request_object(content):
    bare = {
        "method": "PUT",
        "uri": "/_matrix/federation/v1/send/1?a=%20b",
        "origin": "a.example",
        "destination": "b.example",
        **({} if content is None else {"content": content}),
    }
    expected = sign_json(bare, "a.example", KEY)["signatures"]["a.example"]["ed25519:1"]
    sent = None if content is None else canonical_json.encode(content)
    header = x_matrix.sign(request(sent), KEY)
    assert header == XMatrix("a.example", "ed25519:1", expected, "b.example")
    assert x_matrix.parse(x_matrix.build(header)) == header


def test_content_need_not_be_sent_in_canonical_form():
    signature = x_matrix.sign(request(b'{"a":1.5,"b":[2]}'), KEY).signature
    assert x_matrix.signature_holds(request(b' { "b" : [ 2 ],\n"a": 1.5 }'), signature, get_verify_key(KEY))


@pytest.mark.parametrize(
    "other",
    [
        request(b'{"a":2}'),
        request(None),
        request(b""),
        request(b"{"),
        request(b'{"a":1}', uri="/_matrix/federation/v1/send/1"),
        request(b'{"a":1}', uri="/\udc80"),
        request(b'{"a":1}', method="GET"),
        SignedRequest("PUT", request().uri, "c.example", "b.example", b'{"a":1}'),
        SignedRequest("PUT", request().uri, "a.example", "c.example", b'{"a":1}'),
    ],
)
def test_the_signature_covers_the_whole_request(other):
    signature = x_matrix.sign(request(b'{"a":1}'), KEY).signature
    assert x_matrix.signature_holds(request(b'{"a":1}'), signature, get_verify_key(KEY))
    assert not x_matrix.signature_holds(request(b'{"a":1}'), signature, get_verify_key(OTHER))
    assert not x_matrix.signature_holds(other, signature, get_verify_key(KEY))


@given(st.binary(max_size=40), st.text())
def test_checking_never_raises(content, signature):
    assert not x_matrix.signature_holds(request(content), signature, get_verify_key(KEY))


@given(any_values)
def test_every_content_can_be_checked(content):
    text = canonical_json.encode_lenient(content)
    signature = x_matrix.sign(request(text), KEY).signature
    assert x_matrix.signature_holds(request(b" " + text + b" "), signature, get_verify_key(KEY))
