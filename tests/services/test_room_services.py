"""Rooms without HTTP: creation in one commit, membership, state, redactions, restricted joins."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from homeserver.core.errors import MatrixError
from homeserver.core.event_build import Draft
from homeserver.core.room_versions import ROOM_VERSIONS, V10, V11, RoomVersion
from homeserver.services.growth import Once
from homeserver.services.member_content import Move
from homeserver.services.now import now_ms
from storage.database import Database
from tests.kit.rooms import Rooms, build_rooms, move
from tests.kit.services import ALICE, BOB, build_kit

CAROL = "@carol:example.org"


@pytest.fixture
async def rooms(database: Database) -> AsyncIterator[Rooms]:
    kit = build_kit(database)
    yield build_rooms(kit)
    await kit.committer.drain()


@pytest.mark.parametrize("version", ROOM_VERSIONS.values(), ids=lambda version: f"v{version.name}")
@pytest.mark.parametrize("preset", ["private_chat", "trusted_private_chat", "public_chat"])
async def test_a_room_is_one_commit(rooms: Rooms, version: RoomVersion, preset: str) -> None:
    turns = rooms.kit.committer.statistics.turns
    room_id = await rooms.create(
        preset=preset,
        version=version,
        name="A",
        topic="B",
        invite=[BOB],
        alias="#a:example.org",
        published=True,
    )
    assert rooms.kit.committer.statistics.turns == turns + 1
    assert (await rooms.directory.resolve("#a:example.org")).room_id == room_id
    assert await rooms.directory.is_published(room_id)
    assert await rooms.membership(room_id, BOB) == "invite"


async def test_trusted_guests_become_creators_in_newest_rooms(rooms: Rooms) -> None:
    room_id = await rooms.create(preset="trusted_private_chat", invite=[BOB, BOB, ALICE])
    state = await rooms.state(room_id)
    assert state["m.room.create", ""].event.content["additional_creators"] == [BOB]
    assert state["m.room.power_levels", ""].event.content["users"] == {}
    assert state["m.room.power_levels", ""].event.content["events"]["m.room.tombstone"] == 150


async def test_trusted_guests_get_levels_in_older_rooms(rooms: Rooms) -> None:
    room_id = await rooms.create(preset="trusted_private_chat", version=V11, invite=[BOB])
    levels = (await rooms.state(room_id))["m.room.power_levels", ""].event.content
    assert levels["users"] == {ALICE: 100, BOB: 100}


async def test_a_taken_alias_leaves_nothing(rooms: Rooms, database: Database) -> None:
    await rooms.create(alias="#a:example.org")
    with pytest.raises(MatrixError, match="M_ROOM_IN_USE"):
        await rooms.create(alias="#a:example.org")
    results = await asyncio.gather(
        *[rooms.create(alias="#b:example.org") for _ in range(3)], return_exceptions=True
    )
    assert sum(isinstance(result, str) for result in results) == 1
    assert all("M_ROOM_IN_USE" in str(result) for result in results if not isinstance(result, str))
    async with database.read() as conn:
        assert await conn.fetchval("SELECT count(*) FROM rooms") == 2


@pytest.mark.parametrize(
    "options",
    [
        {"level_override": {"users": {ALICE: 100}}},  # a creator has no level since v12
        {"level_override": {"users": "none"}},
        {"creation_content": {"additional_creators": ["bob"]}},
        {
            "creation_content": {"additional_creators": [{}]},
            "preset": "trusted_private_chat",
            "invite": [BOB],
        },
        {"initial_state": [(("m.room.create", ""), {})]},
    ],
)
async def test_impossible_beginnings(rooms: Rooms, options: dict[str, object], database: Database) -> None:
    with pytest.raises(MatrixError, match="M_INVALID_ROOM_STATE"):
        await rooms.create(**options)  # type: ignore[arg-type]
    async with database.read() as conn:
        assert await conn.fetchval("SELECT count(*) FROM rooms") == 0


async def test_initial_state_wins_over_the_preset_and_loses_to_the_name(rooms: Rooms) -> None:
    wanted = [
        (("m.room.join_rules", ""), {"join_rule": "knock"}),
        (("m.room.name", ""), {"name": "lost"}),
        (("m.room.power_levels", ""), {"users_default": 7}),
    ]
    state = await rooms.state(await rooms.create(initial_state=wanted, name="won"))
    assert state["m.room.join_rules", ""].event.content == {"join_rule": "knock"}
    assert state["m.room.name", ""].event.content == {"name": "won"}
    assert state["m.room.power_levels", ""].event.content == {"users_default": 7}


async def test_rooms_made_at_once_are_different(rooms: Rooms) -> None:
    made = await asyncio.gather(*[rooms.create() for _ in range(20)])
    assert len(set(made)) == 20


async def test_joining_twice_makes_one_event(rooms: Rooms) -> None:
    room_id = await rooms.create()
    await asyncio.gather(*[rooms.memberships.join(room_id, BOB) for _ in range(5)])
    first = (await rooms.state(room_id))["m.room.member", BOB].event.event_id
    await rooms.memberships.join(room_id, BOB)
    assert (await rooms.state(room_id))["m.room.member", BOB].event.event_id == first


async def test_what_each_verb_demands(rooms: Rooms) -> None:
    room_id = await rooms.create(preset="private_chat")
    with pytest.raises(MatrixError, match="M_FORBIDDEN"):
        await rooms.memberships.join(room_id, BOB)
    with pytest.raises(MatrixError, match="M_FORBIDDEN: The user is not in the room"):
        await rooms.memberships.kick(move(room_id, ALICE, BOB, "leave"))
    with pytest.raises(MatrixError, match="M_BAD_STATE"):
        await rooms.memberships.unban(move(room_id, ALICE, BOB, "leave"))
    with pytest.raises(MatrixError, match="M_FORBIDDEN"):
        await rooms.memberships.leave(room_id, BOB)
    await rooms.memberships.invite(move(room_id, ALICE, BOB, "invite"))
    await rooms.memberships.join(room_id, BOB)
    with pytest.raises(MatrixError, match="M_FORBIDDEN"):
        await rooms.memberships.invite(move(room_id, ALICE, BOB, "invite"))
    with pytest.raises(MatrixError, match="M_UNKNOWN"):
        await rooms.memberships.forget(room_id, BOB)
    await rooms.memberships.kick(move(room_id, ALICE, BOB, "leave"))
    await rooms.memberships.leave(room_id, BOB)  # has left already
    await rooms.memberships.forget(room_id, BOB)
    await rooms.memberships.ban(move(room_id, ALICE, BOB, "ban"))
    with pytest.raises(MatrixError, match="M_FORBIDDEN"):
        await rooms.memberships.join(room_id, BOB)
    await rooms.memberships.unban(move(room_id, ALICE, BOB, "leave"))
    assert await rooms.membership(room_id, BOB) == "leave"


async def test_a_room_opened_by_another_one(rooms: Rooms) -> None:
    door = await rooms.create()
    rule = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": door}]}
    room_id = await rooms.create(initial_state=[(("m.room.join_rules", ""), rule)])
    with pytest.raises(MatrixError, match="M_FORBIDDEN: You are in none of the rooms"):
        await rooms.memberships.join(room_id, BOB)
    await rooms.memberships.join(door, BOB)
    await rooms.memberships.join(room_id, BOB)
    joined = (await rooms.state(room_id))["m.room.member", BOB].event
    assert joined.content["join_authorised_via_users_server"] == ALICE


async def test_a_client_cannot_choose_who_vouches(rooms: Rooms) -> None:
    room_id = await rooms.create(preset="public_chat")
    vouched = {"join_authorised_via_users_server": ALICE}
    await rooms.memberships.enter(
        Move(room_id=room_id, sender=BOB, target=BOB, membership="join", extra=vouched)
    )
    joined = (await rooms.state(room_id))["m.room.member", BOB].event
    assert joined.content.keys() & vouched.keys() == set()


async def test_knocking(rooms: Rooms) -> None:
    rule = (("m.room.join_rules", ""), {"join_rule": "knock"})
    room_id = await rooms.create(version=V10, initial_state=[rule])
    await rooms.memberships.knock(room_id, BOB, reason="let me in")
    assert (await rooms.state(room_id))["m.room.member", BOB].event.content["reason"] == "let me in"
    await rooms.memberships.leave(room_id, BOB)
    with pytest.raises(MatrixError, match="M_FORBIDDEN"):
        await rooms.memberships.knock(await rooms.create(), BOB)


async def test_guests_need_an_open_door(rooms: Rooms) -> None:
    room_id = await rooms.create()
    with pytest.raises(MatrixError, match="M_GUEST_ACCESS_FORBIDDEN"):
        await rooms.memberships.join(room_id, BOB, is_guest=True)
    await rooms.put(room_id, ALICE, "m.room.guest_access", {"guest_access": "can_join"})
    await rooms.memberships.join(room_id, BOB, is_guest=True)


async def test_the_same_state_is_not_said_twice(rooms: Rooms) -> None:
    room_id = await rooms.create()
    first = await rooms.put(room_id, ALICE, "m.room.name", {"name": "A"})
    assert await rooms.put(room_id, ALICE, "m.room.name", {"name": "A"}) == first
    assert await rooms.put(room_id, ALICE, "m.room.name", {"name": "B"}) != first


@pytest.mark.parametrize(
    ("kind", "content", "error"),
    [
        ("m.room.canonical_alias", {"alias": "#none:example.org"}, "M_BAD_ALIAS"),
        ("m.room.canonical_alias", {"alias": "none"}, "M_INVALID_PARAM"),
        ("m.room.canonical_alias", {"alt_aliases": ["#none:example.org"]}, "M_BAD_ALIAS"),
        ("m.room.canonical_alias", {"alt_aliases": "none"}, "M_BAD_JSON"),
        ("m.room.power_levels", {"users": {"bob": 3}}, "M_BAD_JSON"),
        ("m.room.power_levels", {"ban": "50"}, "M_BAD_JSON"),
        ("m.room.history_visibility", {"history_visibility": "nobody"}, "M_BAD_JSON"),
        ("m.room.create", {}, "M_FORBIDDEN"),
        ("m.room.member", {}, "M_BAD_JSON"),
    ],
)
async def test_state_that_is_refused(rooms: Rooms, kind: str, content: dict[str, object], error: str) -> None:
    room_id = await rooms.create()
    with pytest.raises(MatrixError, match=error):
        await rooms.put(room_id, ALICE, kind, content)


async def test_an_alias_that_goes_takes_its_mention_along(rooms: Rooms) -> None:
    room_id = await rooms.create(alias="#a:example.org")
    await rooms.directory.add_alias("#b:example.org", room_id, ALICE)
    content = {"alias": "#a:example.org", "alt_aliases": ["#b:example.org"]}
    await rooms.put(room_id, ALICE, "m.room.canonical_alias", content)
    await rooms.memberships.join(room_id, BOB)
    with pytest.raises(MatrixError, match="M_FORBIDDEN"):
        await rooms.directory.remove_alias("#a:example.org", BOB)
    await rooms.directory.remove_alias("#a:example.org", ALICE)
    named = (await rooms.state(room_id))["m.room.canonical_alias", ""].event.content
    assert named == {"alt_aliases": ["#b:example.org"]}


async def test_redactions_need_the_power(rooms: Rooms) -> None:
    room_id = await rooms.create()
    for user in (BOB, CAROL):
        await rooms.memberships.join(room_id, user)
    said = await rooms.say(room_id, BOB, "hello")
    with pytest.raises(MatrixError, match="M_FORBIDDEN"):
        await rooms.sending.redact(redaction(room_id, CAROL, said))
    with pytest.raises(MatrixError, match="M_NOT_FOUND"):
        await rooms.sending.redact(redaction(room_id, CAROL, "$nothing"))
    once = Once(1, "r1")
    twice = await asyncio.gather(
        *[rooms.sending.redact(redaction(room_id, BOB, said), once=once) for _ in range(2)]
    )
    assert twice[0] == twice[1] == await rooms.sending.redact(redaction(room_id, BOB, said), once=once)
    async with rooms.kit.database.read() as conn:
        stored = await rooms.kit.reader.by_id(conn, said)
    assert stored is not None
    assert stored.event.content == {}


async def test_leaving_everything(rooms: Rooms) -> None:
    made = [await rooms.create() for _ in range(3)]
    for room_id in made:
        await rooms.memberships.join(room_id, BOB)
    invited = await rooms.create(invite=[BOB])
    await rooms.memberships.leave_all(BOB)
    assert [await rooms.membership(room_id, BOB) for room_id in [*made, invited]] == ["leave"] * 4


async def test_a_new_name_is_told_to_every_room(rooms: Rooms, database: Database) -> None:
    made = [await rooms.create() for _ in range(2)]
    nid = await rooms.kit.state_keys.user_nid(ALICE)
    async with database.transaction() as conn:
        await conn.execute("""INSERT INTO profiles VALUES ($1, 'displayname', '"Alice"')""", nid)
    await rooms.memberships.profile_changed(ALICE)
    for room_id in made:
        member = (await rooms.state(room_id))["m.room.member", ALICE].event
        assert member.content == {"membership": "join", "displayname": "Alice"}


async def test_an_unknown_room_looks_like_one_without_you(rooms: Rooms) -> None:
    with pytest.raises(MatrixError, match="M_FORBIDDEN"):
        await rooms.say("!nowhere:example.org", ALICE, "hello")
    with pytest.raises(MatrixError, match="M_NOT_FOUND"):
        await rooms.memberships.join("!nowhere:example.org", ALICE)


def redaction(room_id: str, sender: str, target: str) -> Draft:
    return Draft("m.room.redaction", sender, {"redacts": target}, now_ms(), room_id)
