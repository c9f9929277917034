"""Paths to endpoints: exact decoding, precedence, and that no path is an exception of another kind."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.errors import MatrixError
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result
from homeserver.web.router import Router


async def handler(call: Call) -> Result:
    return {}


PATHS = [
    "/_matrix/client/versions",
    "/v3/sync",
    "/v3/pushrules/",
    "/v3/directory/room/{roomAlias}",
    "/v3/rooms/{roomId}/state/{eventType}",
    "/v3/rooms/{roomId}/state/{eventType}/{stateKey}",
    "/v3/rooms/{roomIdOrAlias}/summary",
    "/v3/keys/changes",
    "/v3/keys/{kind}/late",
]
ROUTER = Router(Endpoint("GET", path, handler) for path in PATHS)
PREFIX = "/_matrix/client/v3"


@pytest.mark.parametrize(
    ("target", "path", "parameters"),
    [
        ("/_matrix/client/versions", "/_matrix/client/versions", {}),
        (f"{PREFIX}/sync", "/v3/sync", {}),
        ("/_matrix/client/r0/sync", "/v3/sync", {}),
        (f"{PREFIX}/sync/", "/v3/sync", {}),
        (f"{PREFIX}/sync?x=/../a", "/v3/sync", {}),
        (f"{PREFIX}/%73ync", "/v3/sync", {}),
        (f"http://example.org{PREFIX}/sync?a", "/v3/sync", {}),
        (f"{PREFIX}/pushrules", "/v3/pushrules/", {}),
        (f"{PREFIX}/pushrules/", "/v3/pushrules/", {}),
        (f"{PREFIX}/directory/room/%23a%2Fb%3Ax", PATHS[3], {"roomAlias": "#a/b:x"}),
        (f"{PREFIX}/directory/room/%2523", PATHS[3], {"roomAlias": "%23"}),  # decoded once
        (f"{PREFIX}/directory/room/a+b", PATHS[3], {"roomAlias": "a+b"}),
        (f"{PREFIX}/directory/room/%zz", PATHS[3], {"roomAlias": "%zz"}),
        (f"{PREFIX}/directory/room/%E2%82%AC", PATHS[3], {"roomAlias": "€"}),
        (f"{PREFIX}/directory/room/€", PATHS[3], {"roomAlias": "€"}),
        (f"{PREFIX}/directory/room/..", PATHS[3], {"roomAlias": ".."}),
        (f"{PREFIX}/rooms/!a:x/state/m.room.name", PATHS[4], {"roomId": "!a:x", "eventType": "m.room.name"}),
        (f"{PREFIX}/rooms/!a:x/state/m.room.name/", PATHS[4], {"roomId": "!a:x", "eventType": "m.room.name"}),
        (f"{PREFIX}/rooms/a/state/b/c", PATHS[5], {"roomId": "a", "eventType": "b", "stateKey": "c"}),
        (f"{PREFIX}/rooms/a/summary", PATHS[6], {"roomIdOrAlias": "a"}),
        (f"{PREFIX}/keys/changes", PATHS[7], {}),
        (f"{PREFIX}/keys/changes/late", PATHS[8], {"kind": "changes"}),  # the fixed segment was a dead end
    ],
)
def test_found(target, path, parameters):
    endpoint, got = ROUTER.find("GET", target)
    assert (endpoint.path, got) == (path, parameters)


@pytest.mark.parametrize(
    ("method", "target", "status", "errcode"),
    [
        ("GET", "", 404, "M_UNRECOGNIZED"),
        ("GET", "*", 404, "M_UNRECOGNIZED"),
        ("GET", "/", 404, "M_UNRECOGNIZED"),
        ("GET", "//", 404, "M_UNRECOGNIZED"),
        ("GET", "/v3/sync", 404, "M_UNRECOGNIZED"),
        ("GET", f"{PREFIX}/sync//", 404, "M_UNRECOGNIZED"),
        ("GET", f"{PREFIX}//sync", 404, "M_UNRECOGNIZED"),
        ("GET", f"{PREFIX}/rooms//state/x", 404, "M_UNRECOGNIZED"),
        ("GET", f"{PREFIX}/directory/room/", 404, "M_UNRECOGNIZED"),
        ("GET", f"{PREFIX}%2Fsync", 404, "M_UNRECOGNIZED"),
        ("GET", f"{PREFIX}/rooms/a/../sync", 404, "M_UNRECOGNIZED"),  # dots are no navigation
        ("GET", "/a" * 10_000, 404, "M_UNRECOGNIZED"),
        ("POST", f"{PREFIX}/sync", 405, "M_UNRECOGNIZED"),
        ("", f"{PREFIX}/sync", 405, "M_UNRECOGNIZED"),
        ("GET", f"{PREFIX}/directory/room/%00", 400, "M_INVALID_PARAM"),
        ("GET", f"{PREFIX}/directory/room/%ff", 400, "M_INVALID_PARAM"),
        ("GET", f"{PREFIX}/directory/room/%ed%a0%80", 400, "M_INVALID_PARAM"),  # an encoded surrogate
        ("GET", f"{PREFIX}/directory/room/\udcff", 400, "M_INVALID_PARAM"),  # a byte that was no UTF-8
    ],
)
def test_refused(method, target, status, errcode):
    with pytest.raises(MatrixError) as refused:
        ROUTER.find(method, target)
    assert (refused.value.status, refused.value.errcode) == (status, errcode)


def test_two_endpoints_at_one_place_are_refused():
    with pytest.raises(ValueError, match="two endpoints for GET"):
        Router([Endpoint("GET", "/v3/a/{x}", handler), Endpoint("GET", "/v3/a/{y}", handler)])


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_what_is_encoded_comes_back(text):
    _, parameters = ROUTER.find("GET", f"{PREFIX}/directory/room/{quote(text, safe='')}")
    assert parameters == {"roomAlias": text}


@given(st.text(st.sampled_from("GETPUOS")), st.text())
def test_any_target_is_found_or_refused(method, target):
    for path in (target, f"{PREFIX}/{target}", f"{PREFIX}/rooms/{target}/state/{target}"):
        try:
            ROUTER.find(method, path)
        except MatrixError as error:
            assert error.status in (400, 404, 405)  # noqa: PT017
