"""A room made of real, hashed events without signatures, for tests of rules over events.

Each method appends one event behind the branch's tips and returns it. `fork()` gives a second branch of the same
room and `merge()` makes the next event follow both. Nothing is checked: what is sent may be unlawful.

    room = RoomBuilder(V11).created_by(ALICE)
    room.join_rules(ALICE, "public")
    left, right = room.fork(), room.fork()
    left.join(BOB)
    right.topic(ALICE, "spring")
    room.merge(left, right).message(ALICE)
"""

from collections.abc import Mapping
from typing import Any

from attrs import define, evolve, field, frozen

from homeserver.core.event import Event, StateKey, event_from_pdu
from homeserver.core.hashing import content_hash, event_id_of, reference_hash, unpadded
from homeserver.core.ids import domain_of
from homeserver.core.room_versions import RoomVersion
from tests.kit.merged_state import merged_state

ALICE, BOB, CHARLIE = "@alice:a.example", "@bob:b.example", "@charlie:c.example"
START = 1_700_000_000_000

State = dict[StateKey, str]


@define
class Record:
    """All events of the room on any branch, in the order they were made, and the states after them."""

    events: dict[str, Event] = field(factory=dict)
    state_after: dict[str, State] = field(factory=dict)
    state_before: dict[str, State] = field(factory=dict)


@frozen
class Links:
    """What an event points at, where that shall not be what the branch says."""

    prev: list[str] | None = None
    auth: list[str] | None = None


@define
class RoomBuilder:
    """One branch of a room; forks share the record."""

    version: RoomVersion
    room_id: str = "!room:a.example"
    record: Record = field(factory=Record)
    tips: tuple[str, ...] = ()

    # Branches

    def fork(self, *at: Event) -> "RoomBuilder":
        """A new branch from here, or from behind the given events."""
        tips = tuple(event.event_id for event in at) or self.tips
        return evolve(self, tips=tips)

    def merge(self, *branches: "RoomBuilder") -> "RoomBuilder":
        """The next event here follows all the branches' tips (this one's only if it is named too)."""
        self.tips = tuple(dict.fromkeys(tip for branch in branches for tip in branch.tips))
        return self

    # What the room is now

    @property
    def events(self) -> dict[str, Event]:
        """Every event of every branch by id, oldest first."""
        return self.record.events

    @property
    def state_ids(self) -> State:
        """The state in front of the branch's next event."""
        return merged_state(self.version, [self.record.state_after[tip] for tip in self.tips], self.events)

    @property
    def state(self) -> dict[StateKey, Event]:
        """The same, as events: what the authorization rules read."""
        return {key: self.events[event_id] for key, event_id in self.state_ids.items()}

    @property
    def last(self) -> Event:
        """The branch's newest event."""
        return self.events[self.tips[-1]]

    # Events

    def create(self, sender: str = ALICE, **content: Any) -> Event:
        """The room's first event."""
        if self.version.create_names_creator:
            content = {"creator": sender, **content}
        event = self.send_state(sender, "m.room.create", "", {"room_version": self.version.name, **content})
        self.room_id = event.room_id
        return event

    def created_by(self, sender: str = ALICE, **content: Any) -> "RoomBuilder":
        """create, and the creator's join."""
        self.create(sender, **content)
        self.join(sender)
        return self

    def public(self, sender: str = ALICE, users: Mapping[str, int] | None = None) -> "RoomBuilder":
        """created_by, power levels (100 for the creator where it needs them) and an open door."""
        self.created_by(sender)
        creator = {} if self.version.privileged_creators else {sender: 100}
        self.power_levels(sender, {**creator, **(users or {})})
        self.join_rules(sender, "public")
        return self

    def member(self, sender: str, user: str, membership: str, **content: Any) -> Event:
        """Any change of a membership."""
        return self.send_state(sender, "m.room.member", user, {"membership": membership, **content})

    def join(self, user: str, **content: Any) -> Event:
        return self.member(user, user, "join", **content)

    def leave(self, user: str) -> Event:
        return self.member(user, user, "leave")

    def invite(self, sender: str, user: str) -> Event:
        return self.member(sender, user, "invite")

    def kick(self, sender: str, user: str) -> Event:
        return self.member(sender, user, "leave")

    def ban(self, sender: str, user: str) -> Event:
        return self.member(sender, user, "ban")

    def power_levels(self, sender: str, users: Mapping[str, int], **content: Any) -> Event:
        return self.send_state(sender, "m.room.power_levels", "", {"users": dict(users), **content})

    def join_rules(self, sender: str, rule: str, **content: Any) -> Event:
        return self.send_state(sender, "m.room.join_rules", "", {"join_rule": rule, **content})

    def topic(self, sender: str, topic: str) -> Event:
        return self.send_state(sender, "m.room.topic", "", {"topic": topic})

    def message(self, sender: str, body: str = "hello") -> Event:
        return self.append(self.draft(sender, "m.room.message", {"msgtype": "m.text", "body": body}))

    def send_state(self, sender: str, kind: str, state_key: str, content: Mapping[str, Any]) -> Event:
        """Any state event."""
        return self.append(self.draft(sender, kind, content, state_key=state_key))

    def draft(
        self,
        sender: str,
        kind: str,
        content: Mapping[str, Any],
        *,
        state_key: str | None = None,
        ts: int | None = None,
        links: Links = Links(),
    ) -> Event:
        """The event that would come next, hashed, but not put into the room."""
        before = self.state_ids if self.tips else {}
        prev = self.tips if links.prev is None else links.prev
        auth = (
            self._auth_events(before, sender, kind, state_key, content) if links.auth is None else links.auth
        )
        pdu: dict[str, Any] = {
            "type": kind,
            "sender": sender,
            "content": dict(content),
            "origin_server_ts": START + 1000 * len(self.events) if ts is None else ts,
            "depth": 1 + max((self.events[tip].depth for tip in prev if tip in self.events), default=0),
            "prev_events": self._linked(prev),
            "auth_events": self._linked(auth),
        }
        if state_key is not None:
            pdu["state_key"] = state_key
        return self._hashed(pdu)

    def append(self, event: Event, *, rejected: bool = False) -> Event:
        """Put a draft into the room behind its prev_events; a rejected one leaves the state as it was."""
        parents = [self.record.state_after[parent] for parent in event.prev_events]
        before = merged_state(self.version, parents, self.events)
        self.record.events[event.event_id] = event
        self.record.state_before[event.event_id] = before
        changes = event.is_state and not rejected
        self.record.state_after[event.event_id] = {**before, event.key: event.event_id} if changes else before
        self.tips = (event.event_id,)
        return event

    # The making of a PDU

    def _hashed(self, pdu: dict[str, Any]) -> Event:
        if not (self.version.room_id_is_create_hash and pdu["type"] == "m.room.create"):
            pdu["room_id"] = self.room_id
        if self.version.event_id_in_pdu:
            digest = content_hash({**pdu, "n": len(self.events)}, self.version)
            pdu["event_id"] = f"${digest[:18]}:{domain_of(pdu['sender'])}"
        pdu["hashes"] = {"sha256": content_hash(pdu, self.version)}
        pdu = self._signed(pdu)
        return event_from_pdu(pdu, event_id_of(pdu, self.version), self.version)

    def _signed(self, pdu: dict[str, Any]) -> dict[str, Any]:
        return {**pdu, "signatures": {}}

    def _linked(self, ids: Any) -> list[Any]:
        if not self.version.event_id_in_pdu:
            return list(ids)
        return [[i, {"sha256": unpadded(reference_hash(self.events[i].pdu, self.version))}] for i in ids]

    def _auth_events(
        self, state: State, sender: str, kind: str, state_key: str | None, content: Mapping[str, Any]
    ) -> list[str]:
        """What the event must name [ss "Auth events selection"]; written apart from the code under test."""
        keys: list[StateKey] = [("m.room.power_levels", ""), ("m.room.member", sender)]
        if not self.version.room_id_is_create_hash:
            keys.append(("m.room.create", ""))
        if kind == "m.room.member" and state_key is not None:
            keys += _member_keys(state_key, content)
        return [] if kind == "m.room.create" else [state[key] for key in dict.fromkeys(keys) if key in state]


def _member_keys(user: str, content: Mapping[str, Any]) -> list[StateKey]:
    keys = [("m.room.member", user)]
    if content.get("membership") in ("join", "invite", "knock"):
        keys.append(("m.room.join_rules", ""))
    if "third_party_invite" in content:
        keys.append(("m.room.third_party_invite", content["third_party_invite"]["signed"]["token"]))
    if "join_authorised_via_users_server" in content:
        keys.append(("m.room.member", content["join_authorised_via_users_server"]))
    return keys
