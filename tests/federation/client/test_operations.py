"""Each operation on another server: what goes over the wire, what comes of the answer, and of nonsense."""

import itertools
from urllib.parse import unquote

import orjson
import pytest
from aiohttp import web

from federation.client.events import EventRequests, RoomStateAnswer, StateIds
from federation.client.keys import KeyRequests, QueriedKeys, UserDevices
from federation.client.membership import MembershipRequests, SendJoinAnswer, Template
from federation.client.queries import DirectoryAnswer, HierarchyAnswer, QueryRequests
from federation.client.transactions import TransactionRequests
from federation.transport.requests import PeerRefused, PeerUnreachable
from tests.federation.transport.world import Internet, traveling

ROOM, EVENT, USER = "!room/1:there.test", "$event/1", "@user:there.test"
ROOM_PATH = "%21room%2F1%3Athere.test"
EVENT_PATH, USER_PATH = "%24event%2F1", "%40user%3Athere.test"
PDU = {"type": "m.room.member", "room_id": ROOM}
F1, F2 = "/_matrix/federation/v1", "/_matrix/federation/v2"


OPERATIONS = [
    (
        lambda r, d: EventRequests(r).event(d, EVENT),
        f"GET {F1}/event/{EVENT_PATH}",
        {"pdus": [PDU]},
        PDU,
    ),
    (
        lambda r, d: EventRequests(r).state_ids(d, ROOM, EVENT),
        f"GET {F1}/state_ids/{ROOM_PATH}?event_id={EVENT_PATH}",
        {"pdu_ids": ["$a"], "auth_chain_ids": ["$b"]},
        StateIds(["$a"], ["$b"]),
    ),
    (
        lambda r, d: EventRequests(r).state(d, ROOM, EVENT),
        f"GET {F1}/state/{ROOM_PATH}?event_id={EVENT_PATH}",
        {"pdus": [PDU], "auth_chain": []},
        RoomStateAnswer([PDU], []),
    ),
    (
        lambda r, d: EventRequests(r).event_auth(d, ROOM, EVENT),
        f"GET {F1}/event_auth/{ROOM_PATH}/{EVENT_PATH}",
        {"auth_chain": [PDU]},
        [PDU],
    ),
    (
        lambda r, d: EventRequests(r).missing_events(d, ROOM, earliest=["$a"], latest=["$b"], limit=5),
        f"POST {F1}/get_missing_events/{ROOM_PATH}",
        {"events": [PDU]},
        [PDU],
    ),
    (
        lambda r, d: EventRequests(r).backfill(d, ROOM, ["$a", "$b"], 7),
        f"GET {F1}/backfill/{ROOM_PATH}?v=%24a&v=%24b&limit=7",
        {"origin": "x", "pdus": [PDU]},
        [PDU],
    ),
    (
        lambda r, d: EventRequests(r).timestamp_to_event(d, ROOM, 12, "b"),
        f"GET {F1}/timestamp_to_event/{ROOM_PATH}?ts=12&dir=b",
        {"event_id": "$a", "origin_server_ts": 11},
        ("$a", 11),
    ),
    (
        lambda r, d: MembershipRequests(r).make_join(d, ROOM, USER, ["9", "12"]),
        f"GET {F1}/make_join/{ROOM_PATH}/{USER_PATH}?ver=9&ver=12",
        {"room_version": "9", "event": PDU},
        Template("9", PDU),
    ),
    (
        lambda r, d: MembershipRequests(r).make_leave(d, ROOM, USER),
        f"GET {F1}/make_leave/{ROOM_PATH}/{USER_PATH}",
        {"event": PDU},
        Template("1", PDU),
    ),
    (
        lambda r, d: MembershipRequests(r).make_knock(d, ROOM, USER, ["9"]),
        f"GET {F1}/make_knock/{ROOM_PATH}/{USER_PATH}?ver=9",
        {"room_version": "9", "event": PDU},
        Template("9", PDU),
    ),
    (
        lambda r, d: MembershipRequests(r).send_join(d, ROOM, EVENT, PDU),
        f"PUT {F2}/send_join/{ROOM_PATH}/{EVENT_PATH}",
        {"state": [PDU], "auth_chain": [], "servers_in_room": ["a.test", 3, "/"], "members_omitted": 1},
        SendJoinAnswer([PDU], [], None, False, ["a.test"]),
    ),
    (
        lambda r, d: MembershipRequests(r).send_join(d, ROOM, EVENT, PDU, omit_members=True),
        f"PUT {F2}/send_join/{ROOM_PATH}/{EVENT_PATH}?omit_members=true",
        {"state": [], "auth_chain": [], "event": PDU, "members_omitted": True},
        SendJoinAnswer([], [], PDU, True, []),
    ),
    (
        lambda r, d: MembershipRequests(r).send_leave(d, ROOM, EVENT, PDU),
        f"PUT {F2}/send_leave/{ROOM_PATH}/{EVENT_PATH}",
        {},
        None,
    ),
    (
        lambda r, d: MembershipRequests(r).send_knock(d, ROOM, EVENT, PDU),
        f"PUT {F1}/send_knock/{ROOM_PATH}/{EVENT_PATH}",
        {"knock_room_state": [PDU]},
        [PDU],
    ),
    (
        lambda r, d: MembershipRequests(r).invite(
            d, room_version="9", event_id=EVENT, pdu=PDU, invite_room_state=[PDU]
        ),
        f"PUT {F2}/invite/{ROOM_PATH}/{EVENT_PATH}",
        {"event": PDU},
        PDU,
    ),
    (
        lambda r, d: MembershipRequests(r).exchange_third_party_invite(d, ROOM, PDU),
        f"PUT {F1}/exchange_third_party_invite/{ROOM_PATH}",
        {},
        None,
    ),
    (
        lambda r, d: QueryRequests(r).profile(d, USER, "displayname"),
        f"GET {F1}/query/profile?user_id={USER_PATH}&field=displayname",
        {"displayname": "U"},
        {"displayname": "U"},
    ),
    (
        lambda r, d: QueryRequests(r).directory(d, "#a:there.test"),
        f"GET {F1}/query/directory?room_alias=%23a%3Athere.test",
        {"room_id": "!r:there.test", "servers": ["a.test"]},
        DirectoryAnswer("!r:there.test", ["a.test"]),
    ),
    (
        lambda r, d: QueryRequests(r).public_rooms(d, {"limit": 3}),
        f"GET {F1}/publicRooms?limit=3",
        {"chunk": [PDU]},
        {"chunk": [PDU]},
    ),
    (
        lambda r, d: QueryRequests(r).search_public_rooms(d, {"limit": 3}),
        f"POST {F1}/publicRooms",
        {"chunk": []},
        {"chunk": []},
    ),
    (
        lambda r, d: QueryRequests(r).hierarchy(d, ROOM, suggested_only=True),
        f"GET {F1}/hierarchy/{ROOM_PATH}?suggested_only=true",
        {"room": PDU, "inaccessible_children": ["!x:y"]},
        HierarchyAnswer(PDU, [], ["!x:y"]),
    ),
    (
        lambda r, d: QueryRequests(r).openid_userinfo(d, "secret&"),
        f"GET {F1}/openid/userinfo?access_token=secret%26",
        {"sub": USER},
        USER,
    ),
    (
        lambda r, d: QueryRequests(r).version(d),
        f"GET {F1}/version",
        {"server": {"name": "N", "version": 2}},
        ("N", "2"),
    ),
    (
        lambda r, d: KeyRequests(r).server_keys(d),
        "GET /_matrix/key/v2/server",
        {"server_name": "x"},
        b'{"server_name": "x"}',
    ),
    (
        lambda r, d: KeyRequests(r).notary(d, {"a.test": {"ed25519:1": 5}}),
        "POST /_matrix/key/v2/query",
        {"server_keys": []},
        b'{"server_keys": []}',
    ),
    (
        lambda r, d: KeyRequests(r).user_devices(d, USER),
        f"GET {F1}/user/devices/{USER_PATH}",
        {"user_id": USER, "stream_id": 5, "devices": [PDU], "master_key": PDU},
        UserDevices(5, [PDU], PDU, None),
    ),
    (
        lambda r, d: KeyRequests(r).keys_query(d, {USER: []}),
        f"POST {F1}/user/keys/query",
        {"device_keys": {USER: {}}},
        QueriedKeys({USER: {}}, {}, {}),
    ),
    (
        lambda r, d: KeyRequests(r).keys_claim(d, {USER: {"D": "signed_curve25519"}}),
        f"POST {F1}/user/keys/claim",
        {"one_time_keys": {USER: {"D": {}}}},
        {USER: {"D": {}}},
    ),
    (
        lambda r, d: TransactionRequests(r).send(d, "t/1", b'{"pdus":[]}'),
        f"PUT {F1}/send/t%2F1",
        {"pdus": {"$a": {"error": "no"}, "$b": 1}},
        {"$a": {"error": "no"}},
    ),
]
NEEDED = ("pdus", "event", "events", "state", "auth_chain", "pdu_ids", "chunk", "room", "room_id", "sub")
FREE_FORM = ("/query/profile", "/version", "/send", "/key/v2", "/exchange", "/keys/", "/send_leave")


def shaped():
    """The operations whose answers have a shape to be checked."""
    return [
        one for one in OPERATIONS if not any(part in one[1] for part in FREE_FORM) or "/send_join" in one[1]
    ]


@pytest.fixture
def internet():
    return Internet()


@pytest.fixture
async def requests(internet, tmp_path):
    async with traveling(internet, tmp_path) as traveler:
        yield traveler.requests


@pytest.mark.parametrize(("ask", "line", "answer", "result"), OPERATIONS, ids=[one[1] for one in OPERATIONS])
async def test_operations(internet, requests, ask, line, answer, result):
    async with internet.site(answer, "127.0.0.1") as site:
        assert await ask(requests, f"127.0.0.1:{site.port}") == result
    assert [f"{request.method} {request.raw_path}" for request in site.asked] == [line]


JUNK = [None, 7, [3], [[]], {"x": 3}, "\x00"]


@pytest.mark.parametrize(("ask", "line", "answer", "result"), shaped(), ids=[one[1] for one in shaped()])
async def test_nonsense_is_unreadable(internet, requests, ask, line, answer, result):
    """Each field replaced by junk is either refused as unreadable, or was not needed; the first one is needed."""
    said = {}
    async with internet.site(lambda request: said, "127.0.0.1") as site:
        there = f"127.0.0.1:{site.port}"
        for name, junk in itertools.product(answer, JUNK):
            said = {**answer, name: junk}
            requests.destinations.retry_now(there)
            try:
                await ask(requests, there)
            except PeerUnreachable as fault:
                if "unreadable answer" not in fault.reason:
                    raise
            else:
                optional = name == "event" and "send_join" in line
                assert optional or name not in NEEDED or junk in ("\x00", [3], {"x": 3}), name


def first_version_only(answer):
    """A server that does not know the second versions of endpoints."""

    def handle(request):
        if request.path.startswith(F2):
            return web.json_response({"errcode": "M_UNRECOGNIZED"}, status=404)
        return web.json_response([200, answer])

    return handle


async def test_older_servers_are_spoken_to(internet, requests):
    members = MembershipRequests(requests)
    async with internet.site(first_version_only({"event": PDU}), "127.0.0.1") as site:
        there = f"127.0.0.1:{site.port}"
        given = await members.invite(
            there, room_version="1", event_id=EVENT, pdu=PDU, invite_room_state=[{"type": "m.room.name"}]
        )
    assert given == PDU
    assert unquote(site.asked[1].path) == f"{F1}/invite/{ROOM}/{EVENT}"
    assert orjson.loads(site.bodies[1])["unsigned"] == {"invite_room_state": [{"type": "m.room.name"}]}
    async with internet.site(first_version_only({"state": [], "auth_chain": [PDU]}), "127.0.0.1") as site:
        there = f"127.0.0.1:{site.port}"
        assert (await members.send_join(there, ROOM, EVENT, PDU)).auth_chain == [PDU]
        await members.send_leave(there, ROOM, EVENT, PDU)
    assert [request.method for request in site.asked] == ["PUT"] * 4


@pytest.mark.parametrize("body", [[], [200], [200, []], {}, "x"])
async def test_pairs_that_are_none(internet, requests, body):
    handle = lambda request: (  # noqa: E731
        web.Response(status=404) if request.path.startswith(F2) else web.json_response(body)
    )
    async with internet.site(handle, "127.0.0.1") as site:
        with pytest.raises(PeerUnreachable, match="unreadable"):
            await MembershipRequests(requests).send_leave(f"127.0.0.1:{site.port}", ROOM, EVENT, PDU)


async def test_a_room_that_is_unknown_is_no_older_server(internet, requests):
    refuse = lambda request: web.json_response({"errcode": "M_NOT_FOUND"}, status=404)  # noqa: E731
    async with internet.site(refuse, "127.0.0.1") as site:
        with pytest.raises(PeerRefused):
            await MembershipRequests(requests).send_join(f"127.0.0.1:{site.port}", ROOM, EVENT, PDU)
        assert await EventRequests(requests).event(f"127.0.0.1:{site.port}", EVENT) is None
    assert len(site.asked) == 2


async def test_an_answer_without_results_is_a_delivery(internet, requests):
    async with internet.site({}, "127.0.0.1") as site:
        assert await TransactionRequests(requests).send(f"127.0.0.1:{site.port}", "1", b"{}") == {}
