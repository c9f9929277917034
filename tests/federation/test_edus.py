"""EDUs of other servers: each for its users only, in rooms that let it; one bad EDU spoils no other."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from attrs import frozen

from federation import early_presence
from federation.admission import Admission
from federation.early_presence import EarlyPresence
from federation.edus import AllAtOnce, in_turn
from federation.ephemeral import PresenceEdus, ReceiptEdus, TypingEdus
from federation.protocol.transactions import Edu
from homeserver.core.errors import bad_json
from homeserver.core.room_versions import V11
from homeserver.services.background import Background
from homeserver.services.now import now_ms
from homeserver.services.presence import Presences
from homeserver.services.receipts import Receipts
from homeserver.services.server_acls import ServerACLs
from homeserver.services.typing import TypingService
from storage.database import Database, Unavailable
from tests.federation.receiving import (
    ALICE,
    ANNA,
    BEN,
    ELSEWHERE,
    KEYS,
    THERE,
    ZOE,
    Inbox,
    build_inbox,
    open_room,
)
from tests.kit.remote_room import RemoteRoom
from tests.kit.services import build_kit

STRANGER = f"@stranger:{THERE}"
NUL = "\x00"


@frozen
class Scene:
    """A server of ours in a room of the others."""

    inbox: Inbox
    room: RemoteRoom
    early: EarlyPresence

    async def tell(self, kind: str, content: Any, origin: str = THERE) -> None:
        await self.inbox.send([], edus=[Edu(kind, content)], origin=origin)

    async def rows(self, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
        async with self.inbox.kit.database.read() as conn:
            return [tuple(row) for row in await conn.fetch(query, *arguments)]

    async def typing(self) -> set[str]:
        rows = await self.rows(
            "SELECT k.state_key FROM typing t, unnest(t.user_nids) u JOIN state_keys k ON k.key_nid = u"
        )
        return {row[0] for row in rows}

    async def receipts(self) -> set[tuple[str, str, str]]:
        rows = await self.rows(
            "SELECT k.state_key, r.thread_id, r.event_id FROM receipts r JOIN state_keys k ON k.key_nid = r.user_nid"
        )
        return {(row[0], row[1], row[2]) for row in rows}

    async def presence(self) -> dict[str, tuple[str, str | None]]:
        rows = await self.rows(
            "SELECT k.state_key, p.state, p.status_msg FROM presence p JOIN state_keys k ON k.key_nid = p.user_nid"
        )
        return {row[0]: (row[1], row[2]) for row in rows}


@pytest.fixture
async def scene(database: Database) -> AsyncIterator[Scene]:
    kit, background = build_kit(database), Background()
    early = EarlyPresence(Presences(database, kit.committer, kit.state_keys, background), background)
    kit.followers.append(early)
    admission = Admission(database, ServerACLs(kit.reader))
    handlers = {
        "m.typing": TypingEdus(
            admission, TypingService(database, kit.committer, kit.reader.rooms, background)
        ),
        "m.receipt": AllAtOnce(ReceiptEdus(admission, Receipts(database, kit.reader, kit.committer))),
        "m.presence": PresenceEdus(early),
    }
    async with build_inbox(database, handlers=handlers, kit=kit).running() as inbox:
        room = open_room()
        await inbox.found(room)
        yield Scene(inbox, room, early)
        await background.settle()


def typing(room: RemoteRoom, user: object, on: object = True) -> dict[str, Any]:
    return {"room_id": room.room_id, "user_id": user, "typing": on}


def read(room: RemoteRoom, user: object, event_id: object, **data: Any) -> dict[str, Any]:
    return {room.room_id: {"m.read": {user: {"data": {"ts": 1, **data}, "event_ids": [event_id]}}}}


async def test_typing_begins_and_ends(scene: Scene) -> None:
    await scene.tell("m.typing", typing(scene.room, ANNA))
    await scene.tell("m.typing", typing(scene.room, ZOE), ELSEWHERE)
    assert await scene.typing() == {ANNA, ZOE}
    await scene.tell("m.typing", typing(scene.room, ANNA, False))
    assert await scene.typing() == {ZOE}


@pytest.mark.parametrize(
    "change",
    [
        {"user_id": ALICE},  # one of ours
        {"user_id": ZOE},  # somebody else's
        {"user_id": STRANGER},  # not in the room
        {"user_id": 7},
        {"user_id": f"@{NUL}:{THERE}"},
        {"room_id": "!unknown:there.example"},
        {"room_id": None},
        {"typing": "yes"},
    ],
)
async def test_typing_that_is_ignored(scene: Scene, change: dict[str, Any]) -> None:
    await scene.tell("m.typing", {**typing(scene.room, ANNA), **change})
    assert await scene.typing() == set()


async def test_receipts_move_forward(scene: Scene) -> None:
    first, second = scene.room.message(ANNA, "1"), scene.room.message(ANNA, "2")
    await scene.inbox.send([first, second])
    await scene.inbox.judged()
    await scene.tell("m.receipt", read(scene.room, BEN, second.event_id))
    await scene.tell("m.receipt", read(scene.room, BEN, first.event_id))
    await scene.tell("m.receipt", read(scene.room, BEN, first.event_id, thread_id="main"))
    await scene.tell("m.receipt", read(scene.room, ANNA, "$not-here-yet"))
    assert await scene.receipts() == {
        (BEN, "", second.event_id),
        (BEN, "main", first.event_id),
        (ANNA, "", "$not-here-yet"),
    }


async def test_many_receipts_at_once(scene: Scene) -> None:
    event_id = scene.room.last.event_id
    content = read(scene.room, ANNA, event_id)
    content[scene.room.room_id]["m.read"] |= read(scene.room, BEN, event_id)[scene.room.room_id]["m.read"]
    content |= {"!other:there.example": content[scene.room.room_id], "nonsense": 7}
    await scene.tell("m.receipt", content)
    assert await scene.receipts() == {(ANNA, "", event_id), (BEN, "", event_id)}


@pytest.mark.parametrize(
    ("user", "event_id", "data"),
    [
        (ALICE, "$e", {}),
        (ZOE, "$e", {}),
        (STRANGER, "$e", {}),
        (ANNA, 7, {}),
        (ANNA, f"${NUL}", {}),
        (ANNA, "$e", {"thread_id": 7}),
        (ANNA, "$e", {"thread_id": NUL}),
    ],
)
async def test_receipts_that_are_ignored(scene: Scene, user: str, event_id: Any, data: Any) -> None:
    await scene.tell("m.receipt", read(scene.room, user, event_id, **data))
    await scene.tell("m.receipt", {scene.room.room_id: {"m.read.private": {ANNA: {"event_ids": ["$e"]}}}})
    await scene.tell("m.receipt", {scene.room.room_id: {"m.read": {ANNA: 7}}})
    assert await scene.receipts() == set()


async def test_presence(scene: Scene) -> None:
    push = [
        {"user_id": ANNA, "presence": "online", "last_active_ago": 10, "status_msg": "here"},
        {"user_id": BEN, "presence": "unavailable"},
        {"user_id": STRANGER, "presence": "online"},  # shares no room with us
        {"user_id": ZOE, "presence": "online"},  # somebody else's
        {"user_id": ALICE, "presence": "offline"},  # ours
        {"user_id": BEN, "presence": "dancing"},
        {"user_id": BEN, "presence": "online", "status_msg": NUL},
        7,
    ]
    await scene.tell("m.presence", {"push": push})
    assert await scene.presence() == {ANNA: ("online", "here"), BEN: ("unavailable", None)}
    await scene.tell("m.presence", {"push": [{"user_id": ANNA, "presence": "offline"}]})
    assert (await scene.presence())[ANNA] == ("offline", None)


async def test_presence_that_comes_before_we_are_in_the_room(scene: Scene) -> None:
    status = "waiting for you"
    push = [{"user_id": STRANGER, "presence": "unavailable", "status_msg": status}]
    late = [{"user_id": f"@late:{THERE}", "presence": "online"}]
    await scene.tell("m.presence", {"push": late})
    scene.early.clock = lambda: now_ms() + early_presence.HOLDS + 1
    await scene.tell("m.presence", {"push": push})
    room = RemoteRoom.founded(V11, THERE, KEYS[THERE])
    room.public(STRANGER)
    for user in (f"@late:{THERE}", ALICE):
        room.join(user)
    await scene.inbox.found(room)
    await scene.early.background.settle()
    assert await scene.presence() == {STRANGER: ("unavailable", status)}


async def test_strangers_are_remembered_within_bounds(scene: Scene) -> None:
    for number in range(2):
        users = [f"@{number}-{index}:{THERE}" for index in range(early_presence.MOST // 2 + 10)]
        for start in range(0, len(users), 100):
            push = [{"user_id": user, "presence": "online"} for user in users[start : start + 100]]
            await scene.tell("m.presence", {"push": push})
    long = {"user_id": STRANGER, "presence": "online", "status_msg": "x" * 2_000}
    await scene.tell("m.presence", {"push": [long]})
    assert len(scene.early._strangers) == early_presence.MOST
    assert STRANGER not in scene.early._strangers


async def test_the_access_control_list_counts(scene: Scene) -> None:
    room = scene.room
    room.send_state(ANNA, "m.room.server_acl", "", {"allow": ["*"], "deny": [ELSEWHERE]})
    await scene.inbox.send([room.last])
    await scene.inbox.judged()
    await scene.tell("m.typing", typing(room, ZOE), ELSEWHERE)
    await scene.tell("m.receipt", read(room, ZOE, "$e"), ELSEWHERE)
    await scene.tell("m.presence", {"push": [{"user_id": ZOE, "presence": "online"}]}, ELSEWHERE)
    assert (await scene.typing(), await scene.receipts()) == (set(), set())
    assert ZOE in await scene.presence()  # presence is of no room


def told(groups: list[list[Edu]]) -> list[list[dict[str, Any]]]:
    return [[edu.content for edu in group] for group in groups]


class TestDispatch:
    """What the table does, whatever the types mean."""

    async def test_a_bad_edu_spoils_no_other(self, database: Database) -> None:
        heard: list[int] = []

        async def odd(origin: str, content: Any) -> None:
            if content["n"] % 2:
                raise bad_json("odd")
            if content["n"] == 2:
                raise RuntimeError("a defect of ours")
            heard.append(content["n"])

        inbox = build_inbox(database, handlers={"x.odd": odd})
        edus = [Edu("x.odd", {"n": n}) for n in range(7)] + [Edu("x.unknown", {})]
        assert await inbox.send([], edus=edus) == {}
        assert heard == [0, 4, 6]

    async def test_edus_about_the_same_keep_their_order(self) -> None:
        """And others are beside them, a limited number at a time."""
        typings = [{"room_id": f"!{n}:x", "n": n} for n in range(25)] + [{"room_id": "!3:x"}, {"room_id": 7}]
        groups = told(in_turn([Edu("m.typing", content) for content in typings]))
        assert groups == [typings[:10], typings[10:20], typings[20:]]
        unknown = [{"": "a"}, {"": "b"}]
        assert told(in_turn([Edu("x.unknown", content) for content in unknown])) == [
            [unknown[0]],
            [unknown[1]],
        ]

    async def test_receipts_of_many_rooms_are_one_commit(self, scene: Scene) -> None:
        rooms = [open_room(V11) for _ in range(8)]
        for room in rooms:
            await scene.inbox.found(room)
        turns = scene.inbox.kit.committer.statistics.turns
        edus = [Edu("m.receipt", read(room, ANNA, "$e")) for room in rooms]
        await scene.inbox.send([], edus=edus)
        assert len(await scene.rows("SELECT 1 FROM receipts")) == len(rooms)
        assert scene.inbox.kit.committer.statistics.turns == turns + 1
        threads = [read(rooms[0], BEN, "$e", thread_id=thread) for thread in ("main", "$t")]
        await scene.inbox.send([], edus=[Edu("m.receipt", content) for content in threads])
        assert (BEN, "main", "$e") in await scene.receipts()
        assert (BEN, "$t", "$e") in await scene.receipts()

    async def test_what_must_last_is_handled_before_the_answer(self, database: Database) -> None:
        heard: list[str] = []
        broken = True

        async def to_device(origin: str, content: Any) -> None:
            if broken:
                raise Unavailable("the database is away")
            heard.append(origin)

        inbox = build_inbox(database, handlers={"m.direct_to_device": to_device})
        edus = [Edu("m.direct_to_device", {})]
        with pytest.raises(Unavailable):
            await inbox.send([], edus=edus, txn_id="same")
        broken = False
        await inbox.send([], edus=edus, txn_id="same")
        await inbox.send([], edus=edus, txn_id="same")  # answered from the record
        assert heard == [THERE]
