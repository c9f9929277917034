"""Whatever happened, and however it is cut into pages: a service is told what a simple look at each event would say."""

import random
from itertools import pairwise

import pytest

from homeserver.core.application_service_files import registration
from homeserver.core.event_build import Draft
from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.services.application_services.interest import Interests, Page
from storage import application_services as rows
from storage.streams import current_position
from tests.kit.application_service import registration_of
from tests.kit.services import ALICE, SERVER, build_kit, founding

V10 = ROOM_VERSIONS["10"]
GHOSTS = [f"@_{network}_{number}:{SERVER}" for network in ("irc", "xmpp") for number in range(3)]
PEOPLE = [*GHOSTS, f"@bob:{SERVER}"]
ROOMS = [f"!{name}:{SERVER}" for name in "abc"]


def services():
    made = [
        registration_of("irc", users=["@_irc_"]),
        registration_of("xmpp", users=["@_xmpp_.*"], rooms=["!c:"]),
    ]
    return [registration(one, SERVER) for one in made]


async def happen(kit, luck):
    """People come and go and talk; gives what each service must be told of, as (service, event id)."""
    joined = {room_id: set() for room_id in ROOMS}
    wanted = []
    for room_id in ROOMS:
        _, made = await kit.timeline.create(V10, founding(V10, room_id=room_id))
        wanted += [("xmpp", stored.event.event_id) for stored in made] if room_id == ROOMS[2] else []
    for _ in range(60):
        room_id, user_id = luck.choice(ROOMS), luck.choice(PEOPLE)
        moves = luck.random() < 0.5
        if moves:
            membership = "leave" if user_id in joined[room_id] else "join"
            content = {"membership": membership}
            draft = Draft("m.room.member", user_id, content, 1_700_000_000_001, room_id, user_id)
        else:
            draft = Draft("m.room.message", ALICE, {"body": "x"}, 1_700_000_000_001, room_id)
        for service in services():
            inside = any(service.has_user(one) for one in joined[room_id])
            about = moves and service.has_user(user_id)
            if inside or about or service.has_room(room_id):
                wanted.append((service.id, draft))
        stored = await kit.timeline.send(draft) if not moves else (await change(kit, draft))
        wanted = [(one, stored.event.event_id if what is draft else what) for one, what in wanted]
        if moves:
            (joined[room_id].add if membership == "join" else joined[room_id].discard)(user_id)
    return wanted


async def change(kit, draft):
    return (await kit.timeline.change(draft.room_id, [], lambda head: [draft]))[0]


async def told(kit, cuts):
    """What services would be told, reading the whole past in these pages with one memory."""
    interests = Interests(services(), kit.reader, kit.state_keys)
    async with kit.database.read() as conn:
        now = await current_position(conn)
        found = []
        for after, upto in cuts(now):
            events = await rows.events_between(conn, after, upto, None)
            cares = await interests.in_page(conn, Page(after, upto, now, events))
            names = await kit.reader.by_nids(conn, [event.event_nid for event in events])
            found += [
                (one, names[event.event_nid].event.event_id)
                for event in events
                for one in cares.get(event.event_nid, ())
            ]
    return found


@pytest.mark.parametrize("seed", range(4))
async def test_pages_of_any_size_tell_the_same(database, seed):
    luck = random.Random(seed)
    kit = build_kit(database)
    wanted = await happen(kit, luck)

    def whole(now):
        return [(0, now)]

    def single(now):
        return [(position, position + 1) for position in range(now)]

    def some(now):
        marks = sorted({0, now, *(luck.randrange(now) for _ in range(10))})
        return list(pairwise(marks))

    for cuts in (whole, single, some):
        assert sorted(await told(kit, cuts)) == sorted(wanted)


@pytest.mark.parametrize("seed", range(4))
async def test_the_memory_holds_while_things_happen(database, seed):
    """Pages are read as the clock goes on, as for a service that is never behind."""
    luck = random.Random(100 + seed)
    kit = build_kit(database)
    interests = Interests(services(), kit.reader, kit.state_keys)
    found, after, wanted = [], 0, []
    for _ in range(3):
        for room_id in ROOMS:
            room_id = room_id.replace(":", f"{luck.randrange(10**9)}:")
            await kit.timeline.create(V10, founding(V10, room_id=room_id))
            joined = set()
            for _ in range(8):
                user_id = luck.choice(PEOPLE)
                membership = "leave" if user_id in joined else "join"
                member = Draft("m.room.member", user_id, {"membership": membership}, 1, room_id, user_id)
                (joined.add if membership == "join" else joined.discard)(user_id)
                await change(kit, member)
                sent = await kit.timeline.send(Draft("m.room.message", ALICE, {}, 1, room_id))
                wanted += [
                    (one.id, sent.event.event_id) for one in services() if any(map(one.has_user, joined))
                ]
                if luck.random() < 0.5:
                    after = await read_on(kit, interests, after, found)
    await read_on(kit, interests, after, found)
    messages = [(one, event.event_id) for one, event in found if event.type == "m.room.message"]
    assert sorted(messages) == sorted(wanted)


async def read_on(kit, interests, after, found):
    async with kit.database.read(snapshot=True) as conn:
        now = await current_position(conn)
        events = await rows.events_between(conn, after, now, None)
        cares = await interests.in_page(conn, Page(after, now, now, events))
        names = await kit.reader.by_nids(conn, list(cares))
    found += [(one, names[nid].event) for nid, ids in cares.items() for one in ids]
    return now
