"""Rooms of other servers, made before the clock runs: signed events of thousands of members, and what they say."""

import itertools
import time
from collections.abc import Sequence

from attrs import define, field, frozen

from homeserver.core.event import Event
from homeserver.core.event_build import Built, Draft, Place, Signer, build_event
from homeserver.core.room_founding import PRESETS, NewRoom, create_content, power_levels_content
from homeserver.core.room_versions import V12, RoomVersion

VERSION: RoomVersion = V12
TEXT = "The quick brown fox jumps over the lazy dog, again and again and again."
_users = itertools.count(1)


@frozen
class Speaker:
    """A user of a remote server, in a room."""

    user_id: str
    signer: Signer
    member: str  # id of the event that made it a member


@define
class RemoteRoom:
    """A public room as its servers know it: the whole state, and the end of the timeline."""

    room_id: str
    state: list[Built]
    auth: tuple[str, str]  # power levels and join rules, which authorize everybody
    speakers: list[Speaker]
    depth: int
    last: str
    clock: int = field(factory=lambda: time.time_ns() // 1_000_000 - 3_600_000)

    def say(self, speaker: Speaker, text: str = TEXT) -> bytes:
        """The next message, as it travels."""
        draft = Draft(
            "m.room.message", speaker.user_id, {"msgtype": "m.text", "body": text}, self._tick(), self.room_id
        )
        built = build_event(draft, self._place((self.auth[0], speaker.member)), speaker.signer)
        self._follow(built)
        return built.json

    def enter(self, signer: Signer) -> Speaker:
        """A new user of the server joins."""
        user_id = f"@remote{next(_users)}:{signer.server_name}"
        content = {"membership": "join", "displayname": user_id[1:12]}
        draft = Draft("m.room.member", user_id, content, self._tick(), self.room_id, user_id)
        built = build_event(draft, self._place(self.auth), signer)
        self._follow(built)
        self.state.append(built)
        speaker = Speaker(user_id, signer, built.event.event_id)
        self.speakers.append(speaker)
        return speaker

    def join_template(self, user_id: str) -> dict[str, object]:
        """The answer of make_join."""
        event = {
            "type": "m.room.member",
            "room_id": self.room_id,
            "sender": user_id,
            "state_key": user_id,
            "content": {"membership": "join"},
            "depth": self.depth + 1,
            "prev_events": [self.last],
            "auth_events": list(self.auth),
            "origin_server_ts": self._tick(),
        }
        return {"room_version": VERSION.name, "event": event}

    def joined(self, event: Event) -> None:
        """A join came: what is said next is said behind it."""
        self.depth, self.last = event.depth, event.event_id

    def _tick(self) -> int:
        self.clock += 1
        return self.clock

    def _place(self, auth: Sequence[str]) -> Place:
        return Place(VERSION, (self.last,), tuple(auth), self.depth + 1)

    def _follow(self, built: Built) -> None:
        self.depth, self.last = built.event.depth, built.event.event_id


def founded(signers: Sequence[Signer], members: int) -> RemoteRoom:
    """A public room of the first server's, whose members are spread over all of them."""
    creator = f"@remote{next(_users)}:{signers[0].server_name}"
    wish = NewRoom(version=VERSION, creator=creator, preset=PRESETS["public_chat"])
    clock = time.time_ns() // 1_000_000 - 3_600_000
    create = build_event(
        Draft("m.room.create", creator, create_content(wish), clock, None, ""),
        Place(VERSION, (), (), 1),
        signers[0],
    )
    room_id = create.event.room_id
    built = [create]

    def add(kind: str, state_key: str, content: dict[str, object], auth: Sequence[Built]) -> Built:
        draft = Draft(kind, creator, content, clock + len(built), room_id, state_key)
        ids = tuple(each.event.event_id for each in auth)
        place = Place(VERSION, (built[-1].event.event_id,), ids, len(built) + 1)
        built.append(build_event(draft, place, signers[0]))
        return built[-1]

    join = add("m.room.member", creator, {"membership": "join"}, [])
    levels = add("m.room.power_levels", "", power_levels_content(wish), [join])
    rules = add("m.room.join_rules", "", {"join_rule": "public"}, [levels, join])
    add("m.room.history_visibility", "", {"history_visibility": "shared"}, [levels, join])
    auth = (levels.event.event_id, rules.event.event_id)
    first = Speaker(creator, signers[0], join.event.event_id)
    room = RemoteRoom(room_id, built, auth, [first], len(built), built[-1].event.event_id)
    for number in range(1, members):
        room.enter(signers[number % len(signers)])
    return room
