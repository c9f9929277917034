"""Whatever happens: where sliding sync answers from memory, it answers what the database would have said."""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from attrs import define, evolve, field, frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeserver.core.sliding_answer import newer_form, older_form
from homeserver.services.sliding.gather import Gathered, Round, Sent, SlidingGather
from homeserver.services.sliding.quick import SlidingQuick
from storage.database import Database
from tests.kit.services import build_kit
from tests.kit.sliding import EXTENSIONS, SlidingDevice
from tests.kit.syncing import Syncing, build_syncing
from tests.properties.test_sliding_folds import SlidingWorld
from tests.properties.test_sync_folds import NUMBERS, USERS, moves, rooms, users

LAZY = {"include": [{"type": "m.room.member", "state_key": "$ME"}], "lazy_members": True}
BODIES: list[dict[str, Any]] = [
    {"lists": {"all": {"timeline_limit": 3, "required_state": LAZY}}},
    {"lists": {"all": {"timeline_limit": 2, "required_state": [], "range": [0, 0]}}},
    {
        "lists": {
            "dms": {"timeline_limit": 5, "required_state": {"include": [{}]}, "filters": {"is_dm": True}},
            "encrypted": {
                "timeline_limit": 1,
                "required_state": [],
                "range": [0, 0],
                "filters": {"is_encrypted": False, "is_dm": False},
            },
        },
        "extensions": {name: EXTENSIONS[name] for name in ("account_data", "receipts")},
    },
    {"lists": {"second": {"timeline_limit": 2, "required_state": [], "ranges": [[1, 1]]}}},
    {"lists": {"dms": {"timeline_limit": 2, "required_state": [], "filters": {"is_dm": True}}}},
]
lost = st.sampled_from([False, False, False, True])
steps = st.one_of(
    st.tuples(st.just("say"), users, rooms),
    st.tuples(st.just("move"), users, rooms, moves),
    st.tuples(st.just("state"), users, rooms, st.sampled_from(["m.room.topic", "m.room.name"])),
    st.tuples(st.just("call"), users, rooms, users),
    st.tuples(st.just("reply"), users, rooms, st.sampled_from(["m.thread", "m.replace"]), st.integers(0, 9)),
    st.tuples(st.just("redact"), users, rooms, st.integers(0, 9)),
    st.tuples(st.just("receipt"), users, rooms, st.just("m.read"), st.integers(0, 9), st.booleans()),
    st.tuples(st.just("type"), users, rooms, st.booleans()),
    st.tuples(st.just("direct"), users, st.lists(rooms, max_size=2)),
    *[st.tuples(st.just("look"), users, lost)] * 3,
    *[st.tuples(st.just("chat"), users, rooms, st.integers(0, 3), lost)] * 12,
)
histories = st.lists(steps, min_size=20, max_size=50)


@frozen
class Compared(SlidingGather):
    """Answers from memory where there are any, each compared with that of another one from the database."""

    quick: SlidingQuick
    other: SlidingGather
    tally: Counter[str] = field(factory=Counter)

    async def gather(self, asked: Round) -> Gathered:
        found = self.quick.gather(asked)
        if found is None:
            return await super().gather(asked)
        over = dict(asked.sent.over)
        copy = Round(asked.connection, asked.query, asked.request, Sent(asked.sent.base, dict(over)))
        expected = await self.other.gather(copy)
        assert plain(asked, found) == plain(asked, expected)
        assert copy.sent.over == over
        self.tally["empty" if found.empty else "told"] += 1
        return found


@define(eq=False)
class Never(SlidingQuick):
    """Memory tells nothing by itself: the comparison asks it."""

    def gather(self, asked: Round) -> None:
        return None


def plain(asked: Round, found: Gathered) -> dict[str, Any]:
    """An answer without the age of events, and the counts where they are not asked for."""
    form = older_form if asked.query.counted else newer_form
    rooms = {room_id: form(room) for room_id, room in found.rooms.items()}
    told: dict[str, Any] = orjson.loads(orjson.dumps([rooms, found.extensions]))
    for room in told[0].values():
        for event in room.get("timeline", ()):
            event["unsigned"].pop("age")
    counts = dict(found.settled.counts)
    return {
        "now": found.now,
        "told": told,
        "empty": found.empty,
        "complete": found.complete,
        "counts": counts,
    }


@define(eq=False)
class QuickWorld(SlidingWorld):
    """The same world, with a client for each way of asking."""

    async def begin(self) -> None:
        await super().begin()
        for name in USERS:
            user = self.user(name)
            self.clients[name] = [
                SlidingDevice(self.syncing, user, str(n), counted=n > 0) for n in range(len(BODIES))
            ]

    async def do(self, step: tuple[Any, ...]) -> None:
        if step[0] in ("look", "chat"):
            await getattr(self, step[0])(*step[1:])
        else:
            await super().do(step)

    async def look(self, name: str, lost: bool) -> None:
        for client, body in zip(self.clients[name], BODIES, strict=True):
            if lost and client.pos is not None:
                await client.ask(body)
            else:
                await client.sync(body)

    async def chat(self, name: str, room: int, count: int, lost: bool) -> None:
        """Some messages of one who may be in the room or not, and how everybody hears of them."""
        for _ in range(count):
            await super().do(("say", name, room))
        for reader in USERS:
            await self.look(reader, lost)


def compared(syncing: Syncing, tally: Counter[str]) -> Syncing:
    """The same, each answer from memory being compared."""
    service, other = syncing.sliding, build_syncing(syncing.kit).sliding
    real, quick = service.gather, service.quick
    gather = Compared(
        real.database,
        real.notifier,
        real.connections,
        real.lists,
        real.rooms,
        real.extensions,
        quick,
        evolve(other.gather, connections=real.connections),
        tally,
    )
    never = Never(quick.notifier, quick.tails, quick.counts, quick.lists)
    return evolve(syncing, sliding=evolve(service, gather=gather, quick=never))


@pytest.fixture
async def both(database: Database) -> AsyncIterator[Syncing]:
    tally: Counter[str] = Counter()
    syncing = compared(build_syncing(build_kit(database)), tally)
    yield syncing
    await syncing.settle()
    assert tally["told"], tally
    assert tally["empty"], tally


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories)
async def test_memory_says_what_the_database_would(both: Syncing, history: list[tuple[Any, ...]]) -> None:
    world = QuickWorld(both, NUMBERS.next())
    await world.begin()
    for _ in range(3):
        await world.chat("alice", 0, 1, lost=False)
    for step in history:
        await world.do(step)
