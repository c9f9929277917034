"""Delegation by well-known: what is believed, and for how long [ss "Resolving server names" 3]."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.protocol import well_known
from federation.protocol.well_known import Freshness, InvalidWellKnown

NOW = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT
HOUR, DAY = 3600, 24 * 3600
URL = well_known.url_of("example.org")


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"m.server":"m.example.org:443"}', "m.example.org:443"),
        (b' {"m.server": "[::1]", "other": 1.5}', "[::1]"),
    ],
)
def test_delegation(body, name):
    assert well_known.parse(body) == name


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"m.server":null}',
        b'{"m.server":["a.example"]}',
        b'{"m.server":""}',
        b'{"m.server":"https://a.example"}',
        b'{"m.server":"a.example/x"}',
        b'{"m.server":"a.example"}' + b" " * well_known.MAX_BYTES,
        b"[" * 20_000,
    ],
)
def test_no_delegation(body):
    with pytest.raises(InvalidWellKnown):
        well_known.parse(body)


@given(st.binary(max_size=60))
def test_parsing_raises_only_its_own_error(body):
    with suppress(InvalidWellKnown):
        well_known.parse(body)


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/server.json", "https://example.org/server.json"),
        ("https://m.example.org:444/x", "https://m.example.org:444/x"),
        ("//m.example.org/x", "https://m.example.org/x"),
    ],
)
def test_redirects_are_followed(location, target):
    assert well_known.redirected(URL, location, 0) == target


@pytest.mark.parametrize(
    ("location", "followed"),
    [
        ("/again", well_known.MAX_REDIRECTS),
        ("http://example.org/x", 0),
        ("ftp://example.org/x", 0),
        ("https://user:word@example.org/x", 0),
        ("https://[::1/x", 0),
        ("https://example.org:99999/x", 0),
        ("/" + "x" * 3000, 0),
    ],
)
def test_redirects_are_refused(location, followed):
    with pytest.raises(InvalidWellKnown):
        well_known.redirected(URL, location, followed)


@given(st.text())
def test_redirects_raise_only_their_own_error(location):
    with suppress(InvalidWellKnown):
        well_known.redirected(URL, location, 0)


@pytest.mark.parametrize(
    ("freshness", "seconds"),
    [
        (Freshness(), DAY),  # "the recommended sensible default is 24 hours"
        (Freshness("public, max-age=7200"), 2 * HOUR),
        (Freshness('MAX-AGE="7200"'), 2 * HOUR),
        (Freshness("s-maxage=7200"), DAY),  # for shared caches
        (Freshness("max-age=7200", age="600"), 2 * HOUR - 600),
        (Freshness("max-age=9999999999"), 2 * DAY),  # "48 hours is recommended"
        (Freshness("max-age=0"), well_known.MIN_LIFETIME),
        (Freshness("no-store"), well_known.MIN_LIFETIME),
        (Freshness("no-cache, max-age=7200"), well_known.MIN_LIFETIME),
        (Freshness(expires="Sun, 06 Nov 1994 10:49:37 GMT"), 2 * HOUR),
        (Freshness(expires="Sun, 06 Nov 1994 10:49:37"), 2 * HOUR),
        (Freshness(expires="Sat, 05 Nov 1994 10:49:37 GMT"), well_known.MIN_LIFETIME),
        (Freshness(expires="0"), well_known.MIN_LIFETIME),
        (Freshness("max-age=7200", expires="0"), 2 * HOUR),  # [RFC 9111 section 4.2.1]
    ],
)
def test_lifetimes(freshness, seconds):
    assert well_known.lifetime(freshness, NOW) == seconds


@given(st.text(), st.text(), st.text())
def test_lifetimes_are_bounded(cache_control, expires, age):
    lifetime = well_known.lifetime(Freshness(cache_control, expires, age), NOW)
    assert well_known.MIN_LIFETIME <= lifetime <= well_known.MAX_LIFETIME


def test_errors_are_remembered_for_longer_and_longer():
    lifetimes = [well_known.error_lifetime(failures) for failures in range(1, 8)]
    assert lifetimes == [120, 240, 480, 960, 1920, HOUR, HOUR]  # "up to an hour"
    assert well_known.error_lifetime(10**9) == HOUR


def test_freshness_of_headers():
    assert Freshness.of({"Cache-Control": "no-store", "Age": "3"}) == Freshness("no-store", "", "3")
