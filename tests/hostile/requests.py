"""Requests that look like good ones, and are not: for any endpoint, from its own data."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import orjson
from attrs import frozen
from hypothesis import strategies as st

from homeserver.web.endpoint import Endpoint
from tests.hostile.bodies import QUERY, body_for
from tests.hostile.files import nearly_images
from tests.hostile.values import disturbed, odd_texts

_PARAMETER = re.compile(r"\{(\w+)\}")
RAW_BODIES = [
    b"",
    b"null",
    b"[]",
    b"7",
    b'"x"',
    b"{",
    b"\xff\xfe",
    b'{"a": NaN}',
    b"\x00",
    b"[" * 300,
    b"{}" * 2,
]
Known = Mapping[str, Sequence[str]]  # what exists, by the name of the parameter that takes it


@frozen
class HostileRequest:
    """What goes over the wire; `who` is the index of the sender, None: nobody."""

    method: str
    target: str
    body: bytes | None
    who: int | None


@st.composite
def requests(draw: st.DrawFn, endpoint: Endpoint, known: Known, senders: int) -> HostileRequest:
    """A request to `endpoint` from one of `senders`, or from nobody."""
    path = draw(st.sampled_from(list(endpoint.full_paths())))
    target = _PARAMETER.sub(lambda found: quote(draw(_texts(known, found[1])), safe=""), path)
    query = draw(st.lists(st.sampled_from(sorted(QUERY)), max_size=4, unique=True))
    pairs = [(name, draw(_texts({**known, **QUERY}, name))) for name in query]
    if pairs:
        target += "?" + "&".join(f"{quote(name)}={quote(value[:2000], safe='')}" for name, value in pairs)
    who = draw(st.sampled_from([*range(senders), 0, 0, None]))
    body = None if endpoint.method == "GET" else draw(_bodies(endpoint, known))
    return HostileRequest(endpoint.method, target, body, who)


def _texts(known: Known, name: str) -> st.SearchStrategy[str]:
    """What exists, three times in four."""
    values = known.get(name) or known["any"]
    good = st.sampled_from(list(values))
    return st.one_of(good, good, good, odd_texts.map(lambda text: text[:3000]))


def _bodies(endpoint: Endpoint, known: Known) -> st.SearchStrategy[bytes]:
    if endpoint.stream:
        return nearly_images
    good = disturbed(body_for(endpoint.path, known))
    return st.one_of(good, good, good, good, good).map(_encoded) | st.sampled_from(RAW_BODIES)


def _encoded(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # an integer beyond 64 bits, or a lone surrogate
        return b'{"a": 99999999999999999999999}'
