"""Stories of administrators: accounts locked and suspended, things reported, notices sent."""

import pytest

from storage.database import Database
from tests.kit.server import Client, RunningServer, segment

NO_SUCH = {"M_NOT_FOUND": 404, "M_INVALID_PARAM": 400}


async def admin(server: RunningServer, name: str = "root") -> Client:
    client = await server.register(name)
    async with server.database.writer() as conn:
        await conn.execute("UPDATE accounts SET admin = true WHERE user_id = $1", client.user_id)
    return await server.login(client.user_id)


async def room_of(*people: Client) -> str:
    room_id: str = (await people[0].post("/v3/createRoom", {"preset": "public_chat"}))["room_id"]
    for client in people[1:]:
        await client.post(f"/v3/join/{segment(room_id)}")
    return room_id


async def test_lock(server: RunningServer) -> None:
    root, bob = await admin(server), await server.register("bob")
    path = f"/v1/admin/lock/{segment(bob.user_id)}"
    assert await root.get(path) == {"locked": False}
    assert await root.put(path, {"locked": True}) == {"locked": True}
    answer = await bob.ask("GET", "/v3/sync")
    assert (answer.status, answer.errcode, answer.json["soft_logout"]) == (401, "M_USER_LOCKED", True)
    await root.put(path, {"locked": False})
    await bob.get("/v3/account/whoami")  # the same session
    await root.put(path, {"locked": True})
    await bob.post("/v3/logout")


async def test_suspension(server: RunningServer) -> None:
    root, bob, carol = await admin(server), await server.register("bob"), await server.register("carol")
    room_id = await room_of(carol, bob)
    other = await room_of(carol)
    room = f"/v3/rooms/{segment(room_id)}"
    own = (await bob.put(f"{room}/send/m.room.message/1", {"body": "mine"}))["event_id"]
    theirs = (await carol.put(f"{room}/send/m.room.message/1", {"body": "hers"}))["event_id"]
    path = f"/v1/admin/suspend/{segment(bob.user_id)}"
    assert await root.put(path, {"suspended": True}) == {"suspended": True}
    assert await root.get(path) == {"suspended": True}
    profile = f"/v3/profile/{segment(bob.user_id)}/displayname"
    for method, target, body in (
        ("PUT", f"{room}/send/m.room.message/2", {"body": "x"}),
        ("PUT", f"{room}/state/m.room.topic/", {"topic": "x"}),
        ("PUT", f"{room}/redact/{segment(theirs)}/3", {}),
        ("POST", f"{room}/invite", {"user_id": root.user_id}),
        ("POST", f"/v3/join/{segment(other)}", {}),
        ("POST", f"/v3/knock/{segment(other)}", {}),
        ("POST", "/v3/createRoom", {}),
        ("PUT", profile, {"displayname": "x"}),
        ("DELETE", profile, None),
    ):
        assert await bob.refused(method, target, body) == (403, "M_USER_SUSPENDED"), target
    await bob.put(f"{room}/redact/{segment(own)}/4", {})
    await bob.get("/v3/sync", set_presence="offline")
    again = await server.login(bob.user_id)
    assert await again.refused("POST", "/v3/createRoom", {}) == (403, "M_USER_SUSPENDED")
    notice = {"user_id": bob.user_id, "content": {"msgtype": "m.text", "body": "Talk to us"}}
    await root.post("/_synapse/admin/v1/send_server_notice", notice)
    await bob.post(f"{room}/leave")
    await root.put(path, {"suspended": False})
    await bob.post(f"/v3/join/{segment(other)}")


async def test_who_may_lock_whom(server: RunningServer) -> None:
    root, other, bob = await admin(server), await admin(server, "root2"), await server.register("bob")
    await bob.post(
        "/v3/account/deactivate",
        {"auth": {"type": "m.login.password", "user": "bob", "password": "correct horse battery"}},
    )
    eve = await server.register("eve")
    for kind, name in (("lock", "locked"), ("suspend", "suspended")):
        path, body = f"/v1/admin/{kind}/", {name: True}
        for client, user_id, refusal in (
            (eve, root.user_id, (403, "M_FORBIDDEN")),
            (eve, "@nobody:localhost", (403, "M_FORBIDDEN")),
            (root, root.user_id, (403, "M_FORBIDDEN")),
            (root, other.user_id, (403, "M_FORBIDDEN")),
            (root, "@nobody:localhost", (404, "M_NOT_FOUND")),
            (root, bob.user_id, (404, "M_NOT_FOUND")),
            (root, "@a:elsewhere", (400, "M_INVALID_PARAM")),
            (root, "nonsense", (400, "M_INVALID_PARAM")),
        ):
            assert await client.refused("PUT", path + segment(user_id), body) == refusal, user_id
        assert await root.refused("PUT", path + segment(eve.user_id), {}) == (400, "M_MISSING_PARAM")
        assert await root.refused("PUT", path + segment(eve.user_id), {name: 1}) == (400, "M_BAD_JSON")
        assert await eve.refused("GET", path + segment(eve.user_id)) == (403, "M_FORBIDDEN")


async def test_whois(server: RunningServer) -> None:
    root, bob = await admin(server), await server.register("bob")
    path = f"/v3/admin/whois/{segment(bob.user_id)}"
    own = await bob.get(path)
    assert own["user_id"] == bob.user_id
    assert list(own["devices"]) == [bob.device_id]
    assert (await root.get(path))["user_id"] == bob.user_id
    assert await bob.refused("GET", f"/v3/admin/whois/{segment(root.user_id)}") == (403, "M_FORBIDDEN")
    assert await root.refused("GET", "/v3/admin/whois/@x:localhost") == (404, "M_NOT_FOUND")


async def reports(database: Database) -> list[tuple[object, ...]]:
    async with database.read() as conn:
        rows = await conn.fetch("SELECT room_id, event_id, user_id, reason FROM reports ORDER BY report_nid")
    return [tuple(row) for row in rows]


async def test_reports(server: RunningServer) -> None:
    alice, bob, eve = [await server.register(name) for name in ("alice", "bob", "eve")]
    room_id = await room_of(alice, bob)
    event_id = (await alice.put(f"/v3/rooms/{segment(room_id)}/send/m.room.message/1", {"body": "rude"}))[
        "event_id"
    ]
    event, room = (
        f"/v3/rooms/{segment(room_id)}/report/{segment(event_id)}",
        f"/v3/rooms/{segment(room_id)}/report",
    )
    user = f"/v3/users/{segment(alice.user_id)}/report"
    await bob.post(event, {"reason": "rude", "score": -100})
    await bob.post(event, {})
    await eve.post(room, {"reason": "all rude"})
    await eve.post(user, {"reason": ""})
    assert await reports(server.database) == [
        (room_id, event_id, alice.user_id, "rude"),
        (room_id, event_id, alice.user_id, None),
        (room_id, None, None, "all rude"),
        (None, None, alice.user_id, ""),
    ]
    for client, path, body, refusal in (
        (eve, event, {}, (404, "M_NOT_FOUND")),  # not in the room
        (bob, f"{room}/$nothing", {}, (404, "M_NOT_FOUND")),
        (bob, f"{room}/nonsense", {}, (404, "M_NOT_FOUND")),
        (bob, event, {"reason": 7}, (400, "M_BAD_JSON")),
        (bob, room, {}, (400, "M_MISSING_PARAM")),
        (bob, "/v3/rooms/!no:where/report", {"reason": "x"}, (404, "M_NOT_FOUND")),
        (bob, user, {"reason": None}, (400, "M_BAD_JSON")),
        (bob, "/v3/users/@no:where/report", {"reason": "x"}, (404, "M_NOT_FOUND")),
        (bob, "/v3/users/nonsense/report", {"reason": "x"}, (404, "M_NOT_FOUND")),
    ):
        assert await client.refused("POST", path, body) == refusal, (path, body)


async def test_a_user_reports_so_much_and_no_more(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homeserver.services.reporting.MAX_IN_AN_HOUR", 2)
    alice, bob = await server.register("alice"), await server.register("bob")
    path = f"/v3/users/{segment(alice.user_id)}/report"
    for _ in range(2):
        await bob.post(path, {"reason": "x"})
    assert await bob.refused("POST", path, {"reason": "x"}) == (429, "M_LIMIT_EXCEEDED")


async def test_server_notices(server: RunningServer) -> None:
    root, bob = await admin(server), await server.register("bob")
    path = "/_synapse/admin/v1/send_server_notice"
    body = {"user_id": bob.user_id, "content": {"msgtype": "m.text", "body": "one"}}
    first = await root.put(f"{path}/txn", body)
    assert await root.put(f"{path}/txn", body) == first
    synced = await bob.get("/v3/sync", set_presence="offline")
    [room_id] = synced["rooms"]["invite"]
    tags = await bob.get(f"/v3/user/{segment(bob.user_id)}/rooms/{segment(room_id)}/tags")
    assert tags == {"tags": {"m.server_notice": {}}}
    leave = f"/v3/rooms/{segment(room_id)}/leave"
    assert await bob.refused("POST", leave, {}) == (403, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM")
    await bob.post(f"/v3/join/{segment(room_id)}")
    await bob.post(leave)
    await root.post(path, body)
    assert room_id in (await bob.get("/v3/sync", set_presence="offline"))["rooms"]["invite"]
    await bob.post(f"/v3/join/{segment(room_id)}")
    page = await bob.get(f"/v3/rooms/{segment(room_id)}/messages", dir="b")
    said = [event["sender"] for event in page["chunk"] if event["type"] == "m.room.message"]
    assert said == ["@notices:localhost"] * 2
    for client, wrong, refusal in (
        (bob, body, (403, "M_FORBIDDEN")),
        (root, {**body, "user_id": "@no:localhost"}, (404, "M_NOT_FOUND")),
        (root, {**body, "user_id": "@notices:localhost"}, (400, "M_INVALID_PARAM")),
        (root, {**body, "content": {}}, (400, "M_BAD_JSON")),
        (root, {**body, "content": 1}, (400, "M_BAD_JSON")),
        (root, {"content": {"body": ""}}, (400, "M_MISSING_PARAM")),
    ):
        assert await client.refused("POST", path, wrong) == refusal, wrong


async def test_mutual_rooms(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = await server.register("alice"), await server.register("bob")
    path = "/v1/mutual_rooms"
    assert await alice.get(path, user_id=bob.user_id) == {"joined": [], "count": 0}
    rooms = sorted([await room_of(alice, bob) for _ in range(3)])
    await room_of(alice)
    assert await alice.get(path, user_id=bob.user_id) == {"joined": rooms, "count": 3}
    assert (await alice.get(path, user_id="@no:where"))["joined"] == []
    for query in (
        {},
        {"user_id": "nonsense"},
        {"user_id": alice.user_id},
        {"user_id": bob.user_id, "from": "x"},
    ):
        assert (await alice.refused("GET", path, **query))[0] == 400, query


async def test_turn(server: RunningServer) -> None:
    alice = await server.register("alice")
    assert await alice.refused("GET", "/v3/voip/turnServer") == (404, "M_NOT_FOUND")
    assert await alice.get("/v3/thirdparty/protocols") == {}
    for path, refusal in (
        ("/v3/thirdparty/protocol/irc", (404, "M_NOT_FOUND")),
        ("/v3/thirdparty/location/irc", (404, "M_NOT_FOUND")),
        ("/v3/thirdparty/user/irc", (404, "M_NOT_FOUND")),
        ("/v3/thirdparty/location", (400, "M_MISSING_PARAM")),
        ("/v3/thirdparty/user?userid=x", (400, "M_INVALID_PARAM")),
        ("/v3/thirdparty/user?userid=%40a%3Ab", (404, "M_NOT_FOUND")),
        ("/v3/thirdparty/location?alias=%23a%3Ab", (404, "M_NOT_FOUND")),
    ):
        assert await alice.refused("GET", path) == refusal, path
