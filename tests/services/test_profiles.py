"""Profiles and the clock: who is woken, and what is remembered of fields that are no more."""

import pytest

from homeserver.core.event_build import Draft
from homeserver.core.room_versions import V10
from homeserver.services.now import now_ms
from homeserver.services.profiles import Profiles
from storage import profile_changes
from storage.database import Connection, Database
from storage.memberships import joined_rooms
from tests.kit.services import ALICE, BOB, build_kit, founding
from tests.kit.syncing import build_syncing

FIELD = "org.example.field"


async def test_who_comes_to_see_the_user_meanwhile_is_woken_too(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit = build_kit(database)
    await build_syncing(kit).add_account(BOB)
    await kit.timeline.create(V10, founding(V10, room_id="!r:example.org"))
    alice = await kit.notifier.active(await kit.state_keys.user_nid(ALICE))
    calls = []

    async def rooms_and_then_one_more(conn: Connection, user_nid: int) -> list[int]:
        found = await joined_rooms(conn, user_nid)
        calls.append(found)
        if len(calls) == 1:  # after Bob's rooms were read, before the change is written
            draft = Draft("m.room.member", BOB, {"membership": "join"}, now_ms(), "!r:example.org", BOB)
            await kit.timeline.send(draft)
        return found

    monkeypatch.setattr("homeserver.services.profiles.joined_rooms", rooms_and_then_one_more)
    since = kit.notifier.position
    await Profiles(kit.committer, "example.org").set_field(BOB, FIELD, {FIELD: 1})
    async with database.read() as conn:
        changed = await conn.fetchval("SELECT position FROM profile_changes")
    (room,) = alice.fresh_since(since)
    assert max(kit.notifier.room_marks(room).last.values()) == changed
    assert [len(found) for found in calls] == [0, 1, 1, 1]  # read, refused, read, written


async def test_of_endless_fields_that_are_gone_the_last_ones_are_remembered(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile_changes, "MAX_GONE", 2)
    kit = build_kit(database)
    await build_syncing(kit).add_account(ALICE)
    profiles = Profiles(kit.committer, "example.org")
    await profiles.set_field(ALICE, FIELD, {FIELD: None})
    for number in range(4):
        await profiles.set_field(ALICE, f"{FIELD}{number}", {f"{FIELD}{number}": 1})
        await profiles.delete_field(ALICE, f"{FIELD}{number}")
    async with database.read() as conn:
        rows = await conn.fetch("SELECT field FROM profile_changes ORDER BY position")
    assert [row[0] for row in rows] == [FIELD, f"{FIELD}2", f"{FIELD}3"]
