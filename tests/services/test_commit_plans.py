"""What a commit costs the database: one statement, whose plan is made once."""

from homeserver.core.event_build import Draft
from homeserver.core.room_versions import V12
from storage.database import Database
from tests.kit.services import ALICE, build_kit, founding

PLANNED_ANEW = 5  # PostgreSQL compares so many plans for given parameters with the one for any


async def test_messages_and_state_changes_are_planned_once(database: Database) -> None:
    kit = build_kit(database)
    room, _ = await kit.timeline.create(V12, founding(V12))
    for number in range(PLANNED_ANEW + 3):
        content = {"body": str(number)}
        await kit.timeline.send(Draft("m.room.message", ALICE, content, 1, room.room_id))
        await kit.timeline.send(Draft("m.room.topic", ALICE, {"topic": str(number)}, 1, room.room_id, ""))
    async with database.writer() as conn:
        plans = await conn.fetch(
            """
            SELECT statement LIKE '%INTO state_log%' AS state, generic_plans
              FROM pg_prepared_statements WHERE statement LIKE '%UPDATE clock%INTO events%'
            """
        )
    assert {row["state"] for row in plans} == {True, False}
    assert all(row["generic_plans"] > 0 for row in plans)
