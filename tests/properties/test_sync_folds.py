"""Whatever happens and however often clients sync: what they have folded is what a fresh sync tells."""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from attrs import define, field, frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeserver.core.errors import MatrixError
from homeserver.core.event_build import Draft
from homeserver.core.push.evaluate import MARK_UNREAD
from homeserver.core.push.rules import Place, Rule
from homeserver.core.room_versions import V10, V12
from homeserver.core.sync_fold import FoldedRoom
from homeserver.services.now import now_ms
from homeserver.services.push_rules import Owner, PushRules
from homeserver.services.receipts import FULLY_READ, KINDS, MAIN, Mark
from storage import account_data
from storage.committer import Kind, Touched
from storage.database import Connection, Database
from tests.kit.services import build_kit, founding
from tests.kit.syncing import Device, Syncing, build_syncing

USERS = ("alice", "bob", "carol")
ROOMS = range(2)

users, rooms = st.sampled_from(USERS), st.sampled_from(ROOMS)
memberships = st.sampled_from(["invite", "invite", "leave", "ban"])  # what alice does to others
moves = st.sampled_from(["join", "join", "leave", "knock"])  # what users do themselves
DEEDS = [  # what happens, syncs aside
    st.tuples(st.just("say"), users, rooms),
    st.tuples(st.just("say"), users, rooms),
    st.tuples(st.just("call"), users, rooms, users),
    st.tuples(
        st.just("reply"), users, rooms, st.sampled_from(["m.thread", "m.annotation"]), st.integers(0, 30)
    ),
    st.tuples(st.just("member"), st.just("alice"), rooms, memberships, users),
    st.tuples(st.just("move"), users, rooms, moves),
    st.tuples(st.just("state"), users, rooms, st.sampled_from(["m.room.topic", "m.room.name", "x.y"])),
    st.tuples(st.just("redact"), users, rooms, st.integers(0, 30)),
    st.tuples(st.just("visibility"), users, rooms, st.sampled_from(["shared", "joined", "invited"])),
    st.tuples(st.just("receipt"), users, rooms, st.sampled_from(KINDS), st.integers(0, 30), st.booleans()),
    st.tuples(st.just("type"), users, rooms, st.booleans()),
    st.tuples(st.just("account"), users, st.none() | rooms, st.sampled_from(["m.a", "m.b"])),
]
steps = st.one_of(*DEEDS, *[st.tuples(st.just("sync"), users, st.integers(0, 3))] * 4)
histories = st.lists(steps, min_size=40, max_size=80)


@define(eq=False)
class World:
    """Users of one example, their rooms and their clients."""

    syncing: Syncing
    number: int
    room_ids: list[str] = field(factory=list)
    events: dict[str, list[str]] = field(factory=dict)
    devices: dict[str, list[Device]] = field(factory=dict)
    count: int = 0

    def user(self, name: str) -> str:
        return f"@{name}{self.number}:example.org"

    async def mark(self, name: str, pattern: str) -> None:
        """The user has it that messages with this in them are unread, but do not notify."""
        kit, user_id = self.syncing.kit, self.user(name)
        nid = await self.syncing.add_account(user_id)
        rule = Rule("unread", default=False, enabled=True, actions=(MARK_UNREAD,), pattern=pattern)
        rules = PushRules(kit.database, kit.committer, kit.predefined)
        await rules.put(Owner(user_id, nid), "content", rule, Place())

    async def begin(self) -> None:
        for number in ROOMS:
            version = (V12, V10)[number]
            drafts = founding(version, creator=self.user("alice"), room_id=f"!r{self.number}:example.org")
            drafts = [_open(draft) for draft in drafts]
            room, events = await self.syncing.kit.timeline.create(version, drafts)
            self.room_ids.append(room.room_id)
            self.events[room.room_id] = [stored.event.event_id for stored in events]
        await self.mark("carol", "re")
        await self.move(self.user("bob"), 0, "join")
        for name in USERS:
            nid = await self.syncing.kit.state_keys.user_nid(self.user(name))
            shapes: list[dict[str, Any]] = [
                {"filter": limit(3)},
                {"filter": limit(20, unread_thread_notifications=True), "state_name": "state_after"},
                {"filter": {"room": {"timeline": {"limit": 2, "not_types": ["x.y", "m.room.topic"]}}}},
                {"filter": {"room": {"state": {"lazy_load_members": True}}}, "device_nid": nid},
            ]
            self.devices[name] = [self.syncing.device(self.user(name), **shape) for shape in shapes]

    async def do(self, step: tuple[Any, ...]) -> None:
        action, name, *rest = step
        if action == "sync":
            await self.sync(name, rest[0])
            return
        with suppress(MatrixError):  # what the room's rules refuse is no part of the history
            await getattr(self, action)(self.user(name), *rest)

    async def sync(self, name: str, which: int) -> None:
        device = self.devices[name][which]
        await device.sync()
        if which == 3:
            check_speakers(device)

    async def send(
        self, kind: str, sender: str, room: int, content: dict[str, Any], key: str | None = None
    ) -> None:
        room_id = self.room_ids[room]
        stored = await self.syncing.kit.timeline.send(Draft(kind, sender, content, now_ms(), room_id, key))
        self.events[room_id].append(stored.event.event_id)

    async def say(self, sender: str, room: int) -> None:
        self.count += 1
        await self.send("m.room.message", sender, room, {"body": str(self.count)})

    async def call(self, sender: str, room: int, name: str) -> None:
        mentions = {"user_ids": [self.user(name)], "room": name == "alice"}
        await self.send("m.room.message", sender, room, {"body": "!", "m.mentions": mentions})

    async def reply(self, sender: str, room: int, rel_type: str, which: int) -> None:
        events = self.events[self.room_ids[room]]
        relates = {"rel_type": rel_type, "event_id": events[which % len(events)]}
        await self.send("m.room.message", sender, room, {"body": "re", "m.relates_to": relates})

    async def state(self, sender: str, room: int, kind: str) -> None:
        self.count += 1
        await self.send(kind, sender, room, {"value": self.count}, "")

    async def visibility(self, sender: str, room: int, value: str) -> None:
        await self.send("m.room.history_visibility", sender, room, {"history_visibility": value}, "")

    async def member(self, sender: str, room: int, membership: str, target: str) -> None:
        await self.send("m.room.member", sender, room, {"membership": membership}, self.user(target))

    async def move(self, sender: str, room: int, membership: str) -> None:
        self.count += 1
        content = {"membership": membership, "displayname": str(self.count)}
        await self.send("m.room.member", sender, room, content, sender)

    async def redact(self, sender: str, room: int, which: int) -> None:
        events = self.events[self.room_ids[room]]
        await self.send("m.room.redaction", sender, room, {"redacts": events[which % len(events)]})

    async def receipt(self, sender: str, room: int, kind: str, which: int, main: bool) -> None:
        room_id = self.room_ids[room]
        events = self.events[room_id]
        nid = await self.syncing.kit.state_keys.user_nid(sender)
        thread = MAIN if main and kind != FULLY_READ else ""
        await self.syncing.parts.receipts.put(nid, room_id, [Mark(kind, events[which % len(events)], thread)])

    async def type(self, sender: str, room: int, on: bool) -> None:
        nid = await self.syncing.kit.state_keys.user_nid(sender)
        await self.syncing.parts.typing.put(nid, self.room_ids[room], 60_000 if on else None)

    async def account(self, user: str, room: int | None, kind: str) -> None:
        self.count += 1
        kit = self.syncing.kit
        nid, room_nid = await kit.state_keys.user_nid(user), 0
        if room is not None:
            room_nid = (await kit.timeline.head(self.room_ids[room])).room.nid
        entry = account_data.AccountData(room_nid, kind, {"value": self.count})

        async def job(conn: Connection, position: int) -> None:
            await account_data.set_account_data(conn, position, nid, entry)

        await kit.committer.run(job, Touched(users=(nid,), kind=Kind.ACCOUNT_DATA))


@pytest.fixture
async def syncing(database: Database) -> AsyncIterator[Syncing]:
    syncing = build_syncing(build_kit(database, unread_counts=True))
    yield syncing
    await syncing.settle()


@frozen
class Numbers:
    """Tells the examples apart: they share a database."""

    last: list[int] = field(factory=lambda: [0])

    def next(self) -> int:
        self.last[0] += 1
        return self.last[0]


NUMBERS = Numbers()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories)
async def test_folded_syncs_are_a_fresh_sync(syncing: Syncing, history: list[tuple[Any, ...]]) -> None:
    world = World(syncing, NUMBERS.next())
    await world.begin()
    for step in history:
        await world.do(step)
    await syncing.settle()
    for name in USERS:
        for which, device in enumerate(world.devices[name]):
            await world.sync(name, which)
            fresh = syncing.device(device.user_id, filter=device.filter, state_name=device.state_name)
            await fresh.sync()
            assert_same(device, fresh, lazy=which == 3)
            assert "rooms" not in await device.sync()


def assert_same(device: Device, fresh: Device, *, lazy: bool) -> None:
    folded, told = device.folded, fresh.folded
    assert folded.joined.keys() == told.joined.keys()
    pending = {room_id: part for room_id, part in folded.others.items() if part != "leave"}
    assert pending == told.others  # a fresh sync tells nothing of rooms that were left
    assert folded.account_data == told.account_data
    for room_id, room in folded.joined.items():
        other = told.joined[room_id]
        if not lazy:
            assert room.state == other.state
        assert room.receipts == other.receipts
        assert room.typing == other.typing
        assert room.account_data == other.account_data
        assert room.unread == other.unread
        assert_same_end(room, other)


def assert_same_end(room: FoldedRoom, other: FoldedRoom) -> None:
    """Timelines begin at different places, but end alike."""
    length = min(len(room.timeline), len(other.timeline))
    assert room.timeline[len(room.timeline) - length :] == other.timeline[len(other.timeline) - length :]
    assert len(set(room.timeline)) == len(room.timeline)


def check_speakers(device: Device) -> None:
    """A client that loads members lazily knows everybody who speaks in its timelines."""
    for room in device.folded.joined.values():
        members = {key for kind, key in room.state if kind == "m.room.member"}
        assert set(room.senders) <= members


def limit(number: int, **others: Any) -> dict[str, Any]:
    return {"room": {"timeline": {"limit": number, **others}}}


def _open(draft: Draft) -> Draft:
    """Everybody may do everything in the room, but one has to knock at the second one's door."""
    if draft.type == "m.room.join_rules" and draft.room_id is not None:
        return Draft(draft.type, draft.sender, {"join_rule": "knock"}, 1, draft.room_id, "")
    if draft.type == "m.room.power_levels":
        content = {**draft.content, "state_default": 0, "invite": 0, "kick": 0, "ban": 0, "redact": 0}
        return Draft(draft.type, draft.sender, content, draft.origin_server_ts, draft.room_id, "")
    return draft
