"""Whatever bytes arrive, the answer is an error of the specification: never a 5xx, never silence."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.core.errors import MatrixError
from homeserver.web import fields
from homeserver.web.json_body import parse_object
from homeserver.web.query import Query
from tests.web.site import Site, running_site

CLIENT = "/_matrix/client/v3"
HARMLESS = {200, 204, 302, 400, 401, 403, 404, 405, 408, 413, 429}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def as_json(value: object) -> bytes:
    try:
        return orjson.dumps({"a": value})
    except TypeError:  # an integer beyond 64 bits
        return b"9" * 400


bodies = st.binary(max_size=300) | json_values.map(as_json)
targets = st.sampled_from(
    [
        "echo",
        "event",
        "fields",
        "logout",
        "tiny",
        "limited",
        "query",
        "directory/room/{}",
        "rooms/{}/state/{}",
        "{}",
    ]
)


@pytest.fixture(scope="module")
def hostage() -> Iterator[tuple[Site, asyncio.Runner]]:
    """One server for all examples, and the loop it runs in."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        site = runner.run(stack.enter_async_context(running_site()))
        yield site, runner
        runner.run(stack.aclose())


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "BREW"]),
    targets,
    st.text(max_size=20),
    st.text(max_size=40),
    bodies,
)
def test_no_request_is_a_5xx(hostage, method, target, segment, query, body):
    site, runner = hostage
    path = f"{CLIENT}/{target}".replace("{}", quote(segment.encode("utf-8", "surrogatepass"), safe=""))
    raw_query = quote(query.encode("utf-8", "surrogatepass"), safe="=&;+%")
    head = f"{method} {path}?{raw_query} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    status, headers, _ = runner.run(site.exchange(head.encode() + body))
    assert status in HARMLESS
    assert headers["access-control-allow-origin"] == "*"


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=1, max_size=200))
def test_no_bytes_are_a_5xx(hostage, junk):
    site, runner = hostage

    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(junk)
        writer.write_eof()
        async with asyncio.timeout(5):
            answer = await reader.read()
        writer.close()
        return answer

    answer = runner.run(ask())
    assert not answer or int(answer.split()[1]) in HARMLESS


@given(st.binary(max_size=300))
def test_a_body_is_an_object_or_a_refusal(raw):
    try:
        assert isinstance(parse_object(raw), dict)
    except MatrixError as error:
        assert error.errcode in ("M_NOT_JSON", "M_BAD_JSON")  # noqa: PT017


@given(st.integers(1, 400), st.sampled_from(["{", "["]))
def test_depth_is_limited_exactly(depth, kind):
    inner = (b'{"a":' * depth + b"1" + b"}" * depth) if kind == "{" else b"[" * depth + b"]" * depth
    wide = b"[]," * 300 + b"[]"  # many brackets are not depth
    try:
        parse_object(b'{"deep":%b,"wide":[%b]}' % (inner, wide))
        accepted = True
    except MatrixError as error:
        assert error.errcode == "M_BAD_JSON"  # noqa: PT017
        accepted = False
    assert accepted == (depth + 1 <= 200)


@given(st.text(max_size=100))
def test_a_query_is_read_or_refused(raw):
    try:
        query = Query(raw)
    except MatrixError as error:
        assert error.errcode == "M_INVALID_PARAM"  # noqa: PT017
        return
    for read in (query.string, query.integer, query.boolean):
        try:
            read("a")
        except MatrixError as error:
            assert error.errcode in ("M_MISSING_PARAM", "M_INVALID_PARAM")  # noqa: PT017


@given(json_values, st.sampled_from([str, int, bool, float, dict, list]))
def test_a_field_is_of_its_kind_or_refused(value, kind):
    try:
        got = fields.required({"a": value}, "a", kind)
    except MatrixError as error:
        assert error.errcode == "M_BAD_JSON"  # noqa: PT017
        return
    assert type(got) is kind or (kind is float and type(got) is int)
