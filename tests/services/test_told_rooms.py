"""What another server told of a room, judged: the same as each event by itself, also where many cite the same."""

import random

import pytest

from homeserver.core.auth.rejection import Rejected
from homeserver.core.auth.rules import check_auth, check_auth_events
from homeserver.core.event import Event
from homeserver.core.room_versions import ROOM_VERSIONS, RoomVersion
from homeserver.services.told_rooms import judge_told
from tests.kit.room_builder import ALICE, BOB, CHARLIE, Links, RoomBuilder

DORA, EMIL, FRITZ = "@dora:d.example", "@emil:e.example", "@fritz:f.example"


def verdict(event: Event, events: dict[str, Event], rejected: dict[str, str]) -> bool:
    """May it be, with nothing remembered from other events?"""
    create = next(iter(events.values()))
    if any(cited not in events for cited in event.auth_events):
        return False
    cited = [events[event_id] for event_id in event.auth_events]
    try:
        check_auth(event, check_auth_events(event, cited, rejected=rejected, create=create))
    except Rejected:
        return False
    return True


def room_of_many_who_cite_the_same(version: RoomVersion) -> RoomBuilder:
    """Of each set of cited events, some make rightful use and some do not, some before and some after."""
    room = RoomBuilder(version).public(ALICE, {CHARLIE: 50})
    joins = room.join(BOB).auth_events
    for user in (CHARLIE, DORA, EMIL):
        room.join(user)

    def citing(
        auth: tuple[str, ...], sender: str, kind: str, content: dict[str, str], key: str | None
    ) -> Event:
        links = Links(auth=list(auth))
        return room.append(room.draft(sender, kind, content, state_key=key, links=links))

    member = "m.room.member"
    citing(joins, FRITZ, "m.room.message", {"body": "what lets people in lets nobody speak"}, None)
    citing(joins, FRITZ, member, {"membership": "join"}, FRITZ)
    citing(joins, FRITZ, member, {"membership": "join"}, DORA)  # nobody joins for another user
    citing(joins, FRITZ, member, {"membership": "leave"}, FRITZ)  # join rules say nothing about leaving
    changes = room.join(BOB, displayname="Bob").auth_events
    citing(changes, BOB, "m.room.message", {"body": "for which the join rules are not to be named"}, None)
    speaks = room.message(BOB).auth_events
    citing(speaks, BOB, "m.room.message", {"body": "again"}, None)
    citing(speaks, CHARLIE, "m.room.message", {"body": "with Bob's word"}, None)
    citing(speaks, BOB, "m.room.topic", {"topic": "too much"}, "")
    citing((*joins, joins[0]), FRITZ, member, {"membership": "join"}, FRITZ)  # one of them twice
    refused = citing(speaks, BOB, "m.room.join_rules", {"join_rule": "invite"}, "")
    for user in (BOB, CHARLIE):
        auth = (*joins[:-1], refused.event_id)
        citing(auth, user, member, {"membership": "join"}, user)  # a rejected one authorizes nobody
        citing(("$" + "n" * 43, *joins), user, member, {"membership": "join"}, user)
    return room


@pytest.mark.parametrize("version", [v for v in ROOM_VERSIONS.values() if not v.event_id_in_pdu], ids=str)
def test_together_as_each_by_itself(version: RoomVersion) -> None:
    room = room_of_many_who_cite_the_same(version)
    events = list(room.events.values())
    for seed in range(5):
        random.Random(seed).shuffle(events)
        judgements = judge_told(events, room.room_id)
        expected: dict[str, str] = {}
        for event in judgements.ordered:
            if not verdict(event, room.events, expected):
                expected[event.event_id] = ""
        assert judgements.rejected.keys() == expected.keys()
        assert 9 <= len(expected) <= 13
