"""Random rooms in which every event was allowed where it was sent, with forks and merges."""

import random

from homeserver.core.auth.rejection import Rejected
from homeserver.core.auth.rules import check_auth
from homeserver.core.auth.state import AuthState
from homeserver.core.event import Event
from homeserver.core.room_versions import RoomVersion
from tests.kit.room_builder import START, RoomBuilder

USERS = [f"@u{n}:{domain}.example" for n, domain in enumerate("abcde")]


def lawful_room(version: RoomVersion, rng: random.Random, *, events: int) -> RoomBuilder:
    """A room with about so many events after its first five; its branches are merged at the end."""
    room = RoomBuilder(version).public(USERS[0], {USERS[1]: 50})
    branches = [room]
    for _ in range(events):
        branch = rng.choice(branches)
        if len(branches) < 4 and rng.random() < 0.15:
            branches.append(branch.fork())
        elif len(branches) > 1 and rng.random() < 0.15:
            merged = rng.sample(branches, 2)
            branches.remove(merged[1])
            merged[0].merge(*merged)
        _append_if_allowed(branch, _any_event(branch, rng))
    room.merge(*branches)
    return room


def _append_if_allowed(branch: RoomBuilder, event: Event) -> None:
    try:
        check_auth(event, AuthState(branch.state, branch.version))
    except Rejected:
        return
    branch.append(event)


def _any_event(branch: RoomBuilder, rng: random.Random) -> Event:
    sender, target = rng.choice(USERS), rng.choice(USERS)
    kind, state_key, content = rng.choice(
        [
            ("m.room.member", sender, {"membership": "join"}),
            ("m.room.member", sender, {"membership": "join"}),
            ("m.room.member", target, {"membership": rng.choice(["leave", "ban", "invite"])}),
            ("m.room.join_rules", "", {"join_rule": rng.choice(["public", "invite", "public"])}),
            ("m.room.power_levels", "", {"users": _levels(branch, rng)}),
            ("m.room.topic", "", {"topic": str(rng.random())}),
            ("m.room.name", "", {"name": str(rng.random())}),
            ("m.room.message", None, {"body": "hello"}),
        ]
    )
    ts = START + rng.randrange(30) * 1000  # clocks lie, and often agree
    return branch.draft(sender, kind, content, state_key=state_key, ts=ts)


def _levels(branch: RoomBuilder, rng: random.Random) -> dict[str, int]:
    current = branch.state.get(("m.room.power_levels", ""))
    users = dict(current.content["users"]) if current else {}
    for user in rng.sample(USERS[1:], rng.randrange(1, 3)):
        users[user] = rng.choice([0, 50, 100])
    return users
