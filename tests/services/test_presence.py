"""Presence over time: idle, gone, active again; with a clock that the tests move."""

from collections.abc import AsyncIterator

import pytest
from attrs import define

from homeserver.core.presence import IDLE_AFTER
from homeserver.core.room_versions import V11
from homeserver.services import presence
from homeserver.services.background import Background
from homeserver.services.presence import Presences, Told
from storage.database import Database
from tests.kit.services import ALICE, Kit, build_kit, founding

MINUTE = 60_000
PHONE, DESKTOP = 1, 2


@define(eq=False)
class Scene:
    kit: Kit
    presences: Presences
    alice: int
    now: int = 1_700_000_000_000

    def clock(self) -> int:
        return self.now

    async def state(self) -> str:
        """What others see, once all is written that is noted."""
        await self.presences._write_noted()
        found = await self.presences.seen_by(self.alice, ALICE)
        return "offline" if found is None else found.state

    async def after(self, milliseconds: int) -> str:
        self.now += milliseconds
        await self.presences.sweep()
        return await self.state()

    async def position(self) -> int:
        async with self.kit.database.read() as conn:
            found: int = await conn.fetchval("SELECT coalesce(max(position), 0) FROM presence")
        return found


@pytest.fixture
async def scene(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(presence, "COALESCE", 3600.0)  # the tests say when
    kit, background = build_kit(database), Background()
    await kit.timeline.create(V11, founding(V11))
    alice = await kit.state_keys.user_nid(ALICE)
    presences = Presences(database, kit.committer, kit.state_keys, background)
    scene = Scene(kit, presences, alice)
    presences.clock = scene.clock
    yield scene
    await background.settle()


async def test_online_idle_active_and_gone(scene: Scene) -> None:
    async with scene.presences.syncing(scene.alice, PHONE, None):
        assert await scene.state() == "online"
        assert await scene.after(IDLE_AFTER - 1) == "online"
        assert await scene.after(1) == "unavailable"
        scene.presences.active(scene.alice)  # sends a message
        assert await scene.state() == "online"
    assert await scene.after(29_000) == "online"
    assert await scene.after(2_000) == "offline"
    assert await scene.after(5_000) == "offline"
    assert not scene.presences._tracked  # nothing is remembered of who is gone


async def test_a_phone_in_a_pocket_does_not_outvote_a_desktop(scene: Scene) -> None:
    async with scene.presences.syncing(scene.alice, DESKTOP, "online"):
        async with scene.presences.syncing(scene.alice, PHONE, "unavailable"):
            assert await scene.state() == "online"
        position = await scene.position()
        for _ in range(3):  # it comes again and again, which is no news
            async with scene.presences.syncing(scene.alice, PHONE, "unavailable"):
                assert await scene.state() == "online"
        assert await scene.position() == position
    async with scene.presences.syncing(scene.alice, PHONE, "unavailable"):
        assert await scene.after(31_000) == "unavailable"


async def test_what_was_said_stays(scene: Scene) -> None:
    await scene.presences.put(scene.alice, "busy", "in a call", device_nid=PHONE)
    async with scene.presences.syncing(scene.alice, PHONE, None):
        assert await scene.after(2 * IDLE_AFTER) == "busy"
    async with scene.presences.syncing(scene.alice, DESKTOP, "offline"):  # hides itself
        assert await scene.after(31_000) == "offline"
    found = await scene.presences.seen_by(scene.alice, ALICE)
    assert found is not None
    assert found.status_msg == "in a call"


async def test_being_active_all_the_time_tells_nobody(scene: Scene) -> None:
    async with scene.presences.syncing(scene.alice, PHONE, "online"):
        assert await scene.state() == "online"
        position = await scene.position()
        for _ in range(10):
            scene.presences.active(scene.alice)
            assert await scene.after(2 * MINUTE) == "online"
        assert await scene.position() == position
        found = await scene.presences.seen_by(scene.alice, ALICE)
        assert found is not None
        assert scene.now - found.last_active_ts == 2 * MINUTE  # whoever asks hears the truth
        for _ in range(10):
            scene.presences.active(scene.alice)
            await scene.after(2 * MINUTE)
        assert await scene.position() > position  # or other servers would think her gone


async def test_what_a_dead_process_wrote_ends(scene: Scene) -> None:
    dead = Presences(scene.kit.database, scene.kit.committer, scene.kit.state_keys, Background(), scene.clock)
    await dead.put(scene.alice, "online", device_nid=PHONE)
    assert await scene.after(2 * MINUTE) == "online"
    assert await scene.after(2 * MINUTE) == "offline"


async def test_who_is_back_after_a_restart_has_not_been_away(scene: Scene) -> None:
    dead = Presences(scene.kit.database, scene.kit.committer, scene.kit.state_keys, Background(), scene.clock)
    await dead.put(scene.alice, "online", device_nid=PHONE)
    async with scene.presences.syncing(scene.alice, PHONE, "online"):
        for _ in range(4):
            scene.presences.active(scene.alice)
            assert await scene.after(2 * MINUTE) == "online"


async def test_a_silent_server_s_users_are_offline(scene: Scene) -> None:
    await scene.presences.take({ALICE: Told("online", None, scene.now, True)})
    position = await scene.position()
    assert await scene.after(30 * MINUTE) == "online"
    await scene.presences.take({ALICE: Told("online", None, scene.now, True)})  # says it again: no news
    assert await scene.position() == position
    assert await scene.after(30 * MINUTE) == "online"
    assert await scene.after(6 * MINUTE) == "offline"


async def test_five_thousand_come_and_go_in_a_few_writes(scene: Scene) -> None:
    users = range(1_000_000, 1_005_000)
    for nid in users:
        async with scene.presences.syncing(nid, PHONE, "online"):
            pass
    turns = scene.kit.committer.statistics.parts
    await scene.presences._write_noted()
    assert scene.kit.committer.statistics.parts == turns + 1
    await scene.after(31_000)
    assert scene.kit.committer.statistics.parts == turns + 2
    await scene.after(5_000)
    assert not scene.presences._tracked
