"""Key backups: versions, sessions, and which of two sessions is kept."""

import asyncio
import itertools

import orjson
import pytest

from client_api import backup_sessions
from homeserver.core.errors import MatrixError
from tests.client_api.test_interactive_auth import password
from tests.kit.crypto import UserCrypto
from tests.kit.server import segment

ALGORITHM = "m.megolm_backup.v1.curve25519-aes-sha2"
ROOM, OTHER = "!a:localhost", "!b:localhost"
VERSION, KEYS = "/v3/room_keys/version", "/v3/room_keys/keys"


def session(first=0, forwarded=0, verified=False, data="x"):
    return {
        "first_message_index": first,
        "forwarded_count": forwarded,
        "is_verified": verified,
        "session_data": {"ciphertext": data},
    }


async def backup(client):
    body = {"algorithm": ALGORITHM, "auth_data": {"public_key": "k"}}
    return (await client.post(VERSION, body))["version"]


async def test_versions(server):
    alice, eve = await server.register("alice"), await server.register("eve")
    assert await alice.refused("GET", VERSION) == (404, "M_NOT_FOUND")
    first, second = await backup(alice), await backup(alice)
    assert first != second
    told = await alice.get(VERSION)
    assert told == {
        "version": second,
        "algorithm": ALGORITHM,
        "auth_data": {"public_key": "k"},
        "count": 0,
        "etag": "0",
    }
    assert await eve.refused("GET", f"{VERSION}/{first}") == (404, "M_NOT_FOUND")
    await alice.put(f"{VERSION}/{first}", {"algorithm": ALGORITHM, "auth_data": {"new": 1}})
    assert (await alice.get(f"{VERSION}/{first}"))["auth_data"] == {"new": 1}
    for body in ({"algorithm": "other"}, {"version": second}):
        refused = {"algorithm": ALGORITHM, "auth_data": {}, **body}
        assert await alice.refused("PUT", f"{VERSION}/{first}", refused) == (400, "M_INVALID_PARAM")
    for _ in range(2):
        await alice.delete(f"{VERSION}/{second}")
    assert (await alice.get(VERSION))["version"] == first
    assert await alice.refused("GET", f"{VERSION}/{second}") == (404, "M_NOT_FOUND")
    for unknown in ("99", "x", "0", "1.0", "-1", "9" * 40):
        assert await alice.refused("DELETE", f"{VERSION}/{unknown}") == (404, "M_NOT_FOUND")
        assert await alice.refused("GET", KEYS, version=unknown) == (404, "M_NOT_FOUND")
    assert await backup(alice) not in (first, second)
    for body in ({"algorithm": ALGORITHM}, {"auth_data": {}}):
        assert await alice.refused("POST", VERSION, body) == (400, "M_MISSING_PARAM")


async def test_what_only_clients_understand_may_be_a_string(server):
    alice = await server.register("alice")
    body = {"algorithm": ALGORITHM, "auth_data": "opaque"}
    version = (await alice.post(VERSION, body))["version"]
    assert (await alice.get(VERSION))["auth_data"] == "opaque"
    for value in (7, None, [], True):
        assert await alice.refused("POST", VERSION, {**body, "auth_data": value}) == (400, "M_BAD_JSON")
    one = f"{KEYS}/{segment(ROOM)}/s"
    await alice.put(one, {**session(1), "session_data": "opaque"}, version=version)
    assert (await alice.get(one, version=version))["session_data"] == "opaque"


async def test_sessions_are_stored_read_and_deleted(server):
    alice = await server.register("alice")
    version = await backup(alice)
    room, other = f"{KEYS}/{segment(ROOM)}", f"{KEYS}/{segment(OTHER)}"
    one = f"{room}/{segment('s/1')}"
    assert await alice.put(one, session(1), version=version) == {"count": 1, "etag": "1"}
    assert await alice.put(room, {"sessions": {"s2": session(2)}}, version=version) == {
        "count": 2,
        "etag": "2",
    }
    rooms = {
        ROOM: {"sessions": {"s3": session(3)}},
        OTHER: {"sessions": {"s4": session(4), "s5": session(5)}},
    }
    assert await alice.put(KEYS, {"rooms": rooms}, version=version) == {"count": 5, "etag": "3"}
    assert await alice.put(KEYS, {"rooms": rooms}, version=version) == {"count": 5, "etag": "3"}
    assert await alice.get(one, version=version) == session(1)
    assert await alice.get(other, version=version) == rooms[OTHER]
    everything = {"s/1": session(1), "s2": session(2), "s3": session(3)}
    assert await alice.get(KEYS, version=version) == {"rooms": {**rooms, ROOM: {"sessions": everything}}}
    assert await alice.refused("GET", f"{room}/none", version=version) == (404, "M_NOT_FOUND")
    assert await alice.get(f"{KEYS}/{segment('!none:localhost')}", version=version) == {"sessions": {}}
    assert await alice.delete(one, version=version) == {"count": 4, "etag": "4"}
    assert await alice.delete(other, version=version) == {"count": 2, "etag": "5"}
    assert await alice.delete(KEYS, version=version) == {"count": 0, "etag": "6"}
    assert await alice.get(KEYS, version=version) == {"rooms": {}}
    assert await alice.refused("DELETE", KEYS, version="77") == (404, "M_NOT_FOUND")


async def test_only_the_latest_version_is_written(server):
    alice = await server.register("alice")
    path = f"{KEYS}/{segment(ROOM)}/s"
    assert await alice.refused("PUT", path, session(), version="1") == (404, "M_NOT_FOUND")
    old, new = await backup(alice), await backup(alice)
    refused = await alice.ask("PUT", path, session(), version=old)
    assert (refused.status, refused.errcode) == (403, "M_WRONG_ROOM_KEYS_VERSION")
    assert refused.json["current_version"] == new
    assert await alice.get(KEYS, version=old) == {"rooms": {}}


# In the order in which one wins over the next [cs "Server-side key backups"].
RANKS = [
    session(0, 0, verified=True, data="a"),
    session(0, 1, verified=True, data="b"),
    session(5, 0, verified=True, data="c"),
    session(0, 0, data="d"),
    session(0, 3, data="e"),
    session(1, 0, data="f"),
]


async def test_any_room_id_will_do(server):
    alice = await server.register("alice")
    version = await backup(alice)
    for room, fits in (("!abcd", True), ("!a:b", True), ("!", False), ("abcd", False), ("!" * 256, False)):
        path = f"{KEYS}/{segment(room)}/s"
        if fits:
            await alice.put(path, session(1), version=version)
        else:
            assert await alice.refused("PUT", path, session(1), version=version) == (400, "M_INVALID_PARAM")


async def test_the_better_session_is_kept(server):
    alice = await server.register("alice")
    version = await backup(alice)
    for number, (first, second) in enumerate(itertools.permutations(range(len(RANKS)), 2)):
        path = f"{KEYS}/{segment(ROOM)}/s{number}"
        before = await alice.put(path, RANKS[first], version=version)
        after = await alice.put(path, RANKS[second], version=version)
        assert await alice.get(path, version=version) == RANKS[min(first, second)]
        assert (after == before) == (first < second)  # the etag moves only when something changed


@pytest.mark.parametrize(
    ("changed", "errcode"),
    [
        ({"first_message_index": -1}, "M_BAD_JSON"),
        ({"first_message_index": "1"}, "M_BAD_JSON"),
        ({"forwarded_count": 2**60}, "M_BAD_JSON"),
        ({"is_verified": 1}, "M_BAD_JSON"),
        ({"session_data": 7}, "M_BAD_JSON"),
        ({"session_data": None}, "M_BAD_JSON"),
    ],
)
async def test_malformed_sessions_are_refused(server, changed, errcode):
    alice = await server.register("alice")
    version = await backup(alice)
    value = {**session(), **changed}
    rooms = {ROOM: {"sessions": {"good": session(), "bad": value}}}
    assert await alice.refused("PUT", KEYS, {"rooms": rooms}, version=version) == (400, errcode)
    missing = {name: one for name, one in session().items() if name not in changed}
    path = f"{KEYS}/{segment(ROOM)}/s"
    assert await alice.refused("PUT", path, missing, version=version) == (400, "M_MISSING_PARAM")
    assert await alice.refused("PUT", path, session()) == (400, "M_MISSING_PARAM")
    assert await alice.refused("PUT", f"{KEYS}/nonsense/s", session(), version=version) == (
        400,
        "M_INVALID_PARAM",
    )
    assert await alice.get(KEYS, version=version) == {"rooms": {}}


async def test_thousands_of_sessions_of_several_writers(server):
    alice = await server.register("alice")
    version = await backup(alice)

    def rooms(start):
        numbers = range(start, start + 2000)
        return {ROOM: {"sessions": {f"s{number}": session(number) for number in numbers}}}

    await asyncio.gather(
        *[alice.put(KEYS, {"rooms": rooms(start)}, version=version) for start in (0, 1500, 3000)]
    )
    told = await alice.get(VERSION)  # in whatever order they come, each has something that is new
    assert told["count"] == 5000
    assert told["etag"] == "3"
    assert len((await alice.get(KEYS, version=version))["rooms"][ROOM]["sessions"]) == 5000


async def test_an_account_that_ends_takes_its_keys_along(server):
    alice = await server.register("alice", device_id="A")
    version = await backup(alice)
    await alice.put(f"{KEYS}/{segment(ROOM)}/s", session(), version=version)
    await alice.post("/v3/keys/device_signing/upload", UserCrypto(alice.user_id).upload())
    await alice.post("/v3/account/deactivate", {"auth": password("alice")})
    async with server.database.read() as conn:
        for table in ("key_backups", "room_keys", "cross_signing_keys", "user_signatures"):
            assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 0


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (b"[]", (400, "M_BAD_JSON")),
        (b'{"rooms": []}', (400, "M_BAD_JSON")),
        (b'{"rooms": {"!a:x": []}}', (400, "M_BAD_JSON")),
        (b'{"rooms": {"!a:x": {"sessions": {"s": []}}}}', (400, "M_BAD_JSON")),
        (b'{"rooms": {"!a:x": {"sessions": {"s": {"session_data": "\xff"}}}}}', (400, "M_NOT_JSON")),
        (b'{"rooms": {"!a:x": {"sessions": {"s": {"session_data": "\\ud800"}}}}}', (400, "M_NOT_JSON")),
        (b'{"rooms": {"!a:x": {"sessions": {"s": ' + b'{"a":' * 300 + b"1" + b"}" * 304, (400, "M_BAD_JSON")),
        (b'{"rooms": ' + b'{"a":' * 100_000, (400, "M_NOT_JSON")),
        (b'{"rooms": {"\xff": {}}}', (400, "M_NOT_JSON")),
        (b'{"rooms": {}}, 7', (400, "M_NOT_JSON")),
        (b"", (400, "M_NOT_JSON")),
        (b"{}", (400, "M_MISSING_PARAM")),
        (b'{"rooms": {"!a:x": {}}}', (400, "M_MISSING_PARAM")),
    ],
)
async def test_bodies_that_are_none(body, refusal):
    with pytest.raises(MatrixError) as caught:
        await backup_sessions.of_rooms(body)
    assert (caught.value.status, caught.value.errcode) == refusal


async def test_others_get_their_turn_while_a_large_backup_is_read():
    rooms = {
        f"!{n}:x": {"sessions": {f"s{s}": session(s, data="x" * 900) for s in range(200)}} for n in range(5)
    }
    turns, done = 0, False

    async def count_turns():
        nonlocal turns
        while not done:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    keys = await backup_sessions.of_rooms(orjson.dumps({"rooms": rooms}))
    assert turns >= 15  # a million bytes, 64 KiB at a time
    turns = 0
    told = await backup_sessions.told(keys)
    done = True
    await counting
    assert (len(keys), turns) == (1000, 2)
    assert orjson.loads(orjson.dumps(told)) == rooms


async def test_a_large_backup_is_one_write(server):
    alice = await server.register("alice")
    version = await backup(alice)
    sessions = {f"s{n}": session(n) for n in range(1201)}
    sessions["s600"] = session(7, verified=True)
    wrong = {**sessions, "s1100": {**session(), "first_message_index": -1}}
    assert await alice.refused("PUT", KEYS, {"rooms": {ROOM: {"sessions": wrong}}}, version=version) == (
        400,
        "M_BAD_JSON",
    )
    assert (await alice.get(VERSION))["count"] == 0
    stored = await alice.put(KEYS, {"rooms": {ROOM: {"sessions": sessions}}}, version=version)
    assert stored["count"] == 1201
    assert (await alice.get(KEYS, version=version)) == {"rooms": {ROOM: {"sessions": sessions}}}
