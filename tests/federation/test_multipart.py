"""Multipart bodies, however they are cut [RFC 2046 section 5.1]."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.protocol.multipart import MAX_HEAD, InvalidMultipart, Part, Parts, boundary_of

B = b"gc0p4Jq0M2"


def body(*parts, preamble=b"", end=b"--"):
    delimited = [b"\r\n--" + B + b"\r\n" + head + b"\r\n\r\n" + data for head, data in parts]
    return preamble + b"".join(delimited).removeprefix(b"" if preamble else b"\r\n") + b"\r\n--" + B + end


def taken_apart(text, size):
    """Each part's headers and bytes, and whether the end was seen."""
    parts, found = Parts(B), []
    for begin in range(0, len(text), size):
        for piece in parts.feed(text[begin : begin + size]):
            if isinstance(piece, Part):
                found.append((dict(piece.headers), b""))
            else:
                headers, data = found.pop()
                found.append((headers, data + piece))
    return found, parts.ended


DATA = st.binary(max_size=60).filter(lambda data: B not in data)


@given(st.lists(DATA, min_size=1, max_size=3), st.integers(1, 50), st.sampled_from([b"", b"hello"]))
def test_any_parts_in_any_slices(datas, size, preamble):
    text = body(*((b"Content-Type: x/%d" % n, data) for n, data in enumerate(datas)), preamble=preamble)
    found, ended = taken_apart(text + b"\r\nepilogue", size)
    assert found == [({"content-type": f"x/{n}"}, data) for n, data in enumerate(datas)]
    assert ended


@given(st.binary(max_size=100), st.integers(1, 20))
def test_anything_is_taken_apart_or_refused(text, size):
    with contextlib.suppress(InvalidMultipart):
        taken_apart(b"--" + B + text, size)


def test_what_breaks_off_has_no_end():
    assert taken_apart(body((b"a: b", b"data"), end=b""), 10)[1] is False


@pytest.mark.parametrize(
    "text",
    [
        b"x" * 100_000,  # no part
        b"--" + B + b"junk\r\n\r\n",
        b"--" + B + b" " * 100_000,
        b"--" + B + b"\r\n" + b"a: b\r\n" * MAX_HEAD,
    ],
)
def test_what_is_refused(text):
    with pytest.raises(InvalidMultipart):
        taken_apart(text, 1000)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/mixed; boundary=abc", b"abc"),
        ('Multipart/Mixed; charset=x; boundary="a b"', b"a b"),
        ("multipart/mixed", None),
        ("multipart/mixed; boundary=", None),
        ("multipart/mixed; boundary=" + "x" * 71, None),
        ("text/plain; boundary=abc", None),
        ("", None),
    ],
)
def test_boundaries(content_type, boundary):
    if boundary is not None:
        assert boundary_of(content_type) == boundary
    else:
        with pytest.raises(InvalidMultipart):
            boundary_of(content_type)
