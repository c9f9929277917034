"""Whatever happens, however windows wander and whichever answers are lost: folding sliding syncs is a fresh one."""

from typing import Any

from attrs import define, field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import account_data
from storage.committer import Kind, Touched
from storage.database import Connection
from tests.kit.sliding import FoldedRoom, SlidingDevice
from tests.kit.syncing import Syncing
from tests.properties.test_sync_folds import DEEDS, NUMBERS, USERS, World, rooms, users

OF_MEMBERS = {"heroes", "joined_count", "invited_count"}
ALL_STATE: dict[str, Any] = {"include": [{}]}
LAZY = {"include": [{"type": "m.room.topic"}], "lazy_members": True}
STATES = [
    {"include": [{"type": "m.room.name", "state_key": ""}]},
    [["m.room.topic", "*"], ["m.room.member", "$ME"]],
    ALL_STATE,
    {"include": [{}], "exclude": [{"type": "x.y"}], "lazy_members": True},
]

wishes = st.fixed_dictionaries(
    {
        "end": st.sampled_from([None, 0, 0, 1]),
        "limit": st.sampled_from([0, 1, 3, 20]),
        "state": st.integers(0, len(STATES) - 1),
        "room": st.none() | rooms,
        "room_limit": st.sampled_from([1, 10]),
        "lost": st.booleans(),
    }
)
steps = st.one_of(
    *DEEDS,
    st.tuples(st.just("direct"), users, st.lists(rooms, max_size=2)),
    *[st.tuples(st.just("steady"), users)] * 2,
    *[st.tuples(st.just("wander"), users, wishes)] * 4,
)
histories = st.lists(steps, min_size=30, max_size=70)


def steady(state: Any = ALL_STATE, limit: int = 3) -> dict[str, Any]:
    """All rooms, always in the same way."""
    wish = {"timeline_limit": limit, "required_state": state}
    return {
        "lists": {
            "all": wish,
            "invites": {**wish, "filters": {"is_invited": True}},
            "dms": {**wish, "filters": {"is_dm": True, "is_invited": False}},
        }
    }


@define(eq=False)
class SlidingWorld(World):
    """The same world, with clients that sync by windows."""

    clients: dict[str, list[SlidingDevice]] = field(factory=dict)

    async def begin(self) -> None:
        await super().begin()
        for name in USERS:
            self.clients[name] = [
                SlidingDevice(self.syncing, self.user(name), kind) for kind in ("steady", "lazy", "wander")
            ]

    async def do(self, step: tuple[Any, ...]) -> None:
        if step[0] in ("steady", "wander"):
            await getattr(self, step[0])(*step[1:])
        else:
            await super().do(step)

    async def steady(self, name: str) -> None:
        await self.clients[name][0].sync(steady())
        await self.clients[name][1].sync(steady(LAZY))
        check_speakers(self.clients[name][1])

    async def wander(self, name: str, wish: dict[str, Any]) -> None:
        window = {} if wish["end"] is None else {"range": [0, wish["end"]]}
        room = {"timeline_limit": wish["limit"], "required_state": STATES[wish["state"]]}
        body: dict[str, Any] = {"lists": {"some": {**room, **window}}}
        if wish["room"] is not None:
            one = {"timeline_limit": wish["room_limit"], "required_state": STATES[0]}
            body["room_subscriptions"] = {self.room_ids[wish["room"]]: one}
        client = self.clients[name][2]
        if wish["lost"]:
            await client.ask(body) if client.pos is not None else None
        else:
            await client.sync(body)

    async def direct(self, user: str, which: list[int]) -> None:
        content = {"@x:example.org": [self.room_ids[number] for number in which]}
        nid = await self.syncing.kit.state_keys.user_nid(user)
        entry = account_data.AccountData(0, "m.direct", content)

        async def job(conn: Connection, position: int) -> None:
            await account_data.set_account_data(conn, position, nid, entry)

        await self.syncing.kit.committer.run(job, Touched(users=(nid,), kind=Kind.ACCOUNT_DATA))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories)
async def test_folded_sliding_syncs_are_a_fresh_one(syncing: Syncing, history: list[tuple[Any, ...]]) -> None:
    world = SlidingWorld(syncing, NUMBERS.next())
    await world.begin()
    for step in history:
        await world.do(step)
    await syncing.settle()
    for name in USERS:
        for client, body in zip(world.clients[name], (steady(), steady(LAZY), steady()), strict=True):
            await client.sync(body)
            fresh = SlidingDevice(syncing, client.user_id, "fresh")
            await fresh.sync(body)
            assert_same(client, fresh, lazy=client.conn_id == "lazy")
            again = await client.sync(body)
            assert again["rooms"] == {}
            assert again["extensions"].keys() <= {"e2ee"}


def assert_same(client: SlidingDevice, fresh: SlidingDevice, *, lazy: bool) -> None:
    folded, told = client.folded, fresh.folded
    assert folded.account_data == told.account_data
    assert folded.counts["invites"] == told.counts["invites"]
    for room_id, room in folded.rooms.items():
        assert room_id in told.rooms or room.facts["membership"] in ("leave", "ban")
    for room_id, other in told.rooms.items():
        room = folded.rooms[room_id]
        assert _present(room) == _present(other)
        assert room.stripped == other.stripped
        if not lazy:
            assert room.state == other.state
        assert room.receipts.items() >= other.receipts.items()
        assert room.account_data == other.account_data
        if other.facts["membership"] == "join":
            assert room.typing == other.typing
            assert_same_end(room, other)
        else:  # who is put out again and again need not hear of each time
            assert room.timeline[-1:] in ([], other.timeline[-1:])


def _present(room: FoldedRoom) -> dict[str, Any]:
    """What is not there may be told, or not; who is in a room that was left, and redacted profiles, are no news."""
    of_members = set() if room.facts["membership"] == "join" else OF_MEMBERS
    facts = {**room.facts, "heroes": [hero["user_id"] for hero in room.facts.get("heroes", ())]}
    return {name: value for name, value in facts.items() if value and name not in of_members}


def assert_same_end(room: FoldedRoom, other: FoldedRoom) -> None:
    """Timelines begin at different places, but end alike."""
    length = min(len(room.timeline), len(other.timeline))
    assert room.timeline[len(room.timeline) - length :] == other.timeline[len(other.timeline) - length :]
    assert len(set(room.timeline)) == len(room.timeline)


def check_speakers(client: SlidingDevice) -> None:
    """A client that loads members lazily knows everybody who speaks in its timelines."""
    for room in client.folded.rooms.values():
        members = {key for kind, key in room.state if kind == "m.room.member"}
        assert set(room.senders) <= members
