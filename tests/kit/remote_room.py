"""A room that lives on simulated servers: real events, hashed and signed, in memory, with all its forks.

room = RemoteRoom.founded(V12, peer.name, peer.key)
room.public(peer.user("alice"))
room.message(peer.user("alice"))
"""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import define, field
from signedjson.types import SigningKey

from homeserver.core.canonical_json import encode_lenient
from homeserver.core.event import Event, event_from_pdu
from homeserver.core.hashing import content_hash, event_id_of
from homeserver.core.ids import domain_of
from homeserver.core.room_versions import RoomVersion
from homeserver.core.signing import sign_event
from tests.kit.merged_state import merged_state
from tests.kit.room_builder import RoomBuilder

_rooms = itertools.count(1)


def pdu_bytes(event: Event) -> bytes:
    """The event as it travels."""
    return encode_lenient(event.pdu)


@define
class RemoteRoom(RoomBuilder):
    """A room builder whose events are signed by their senders' servers, as far as `keys` has these."""

    keys: dict[str, SigningKey] = field(factory=dict)

    @classmethod
    def founded(cls, version: RoomVersion, name: str, key: SigningKey) -> "RemoteRoom":
        """A room without any event yet; where its id is not a hash, `name` is in it."""
        return cls(version, room_id=f"!room{next(_rooms)}:{name}", keys={name: key})

    # What other servers are told

    def auth_chain(self, of: Iterable[str]) -> list[Event]:
        """All that the events rest on, oldest first, without themselves unless another rests on them."""
        found: set[str] = set()
        stack = [self.events[each] for each in of if each in self.events]
        while stack:
            for parent in stack.pop().auth_events:
                if parent not in found and parent in self.events:
                    found.add(parent)
                    stack.append(self.events[parent])
        # Not named since v12, and needed all the same.
        found |= {each for each, event in self.events.items() if event.type == "m.room.create"}
        return [event for each, event in self.events.items() if each in found]

    def template(self, sender: str, kind: str, content: Mapping[str, Any], state_key: str) -> dict[str, Any]:
        """An event for another server to finish."""
        pdu = dict(self.draft(sender, kind, content, state_key=state_key).pdu)
        for own in ("hashes", "signatures", "event_id"):
            pdu.pop(own, None)
        return pdu

    def before(self, known: Iterable[str], *, limit: int) -> list[Event]:
        """These events and what precedes them, newest first."""
        found: dict[str, Event] = {}
        queue = [each for each in known if each in self.events]
        while queue and len(found) < limit:
            queue.sort(key=lambda each: self.events[each].depth)
            event = self.events[queue.pop()]
            found.setdefault(event.event_id, event)
            queue += [parent for parent in event.prev_events if parent in self.events and parent not in found]
        return list(found.values())

    def between(self, earliest: Iterable[str], latest: Iterable[str], *, limit: int) -> list[Event]:
        """What lies before `latest` and not before `earliest`, oldest first."""
        known, found = set(earliest), dict[str, Event]()
        queue = [parent for each in latest if each in self.events for parent in self.events[each].prev_events]
        while queue and len(found) < limit:
            each = queue.pop(0)
            if each in known or each in found or each not in self.events:
                continue
            found[each] = self.events[each]
            queue += self.events[each].prev_events
        return sorted(found.values(), key=lambda event: event.depth)

    # What other servers tell

    def finished(self, pdu: Mapping[str, Any]) -> Event:
        """An event from elsewhere."""
        plain = {key: value for key, value in pdu.items() if key != "unsigned"}
        return event_from_pdu(plain, event_id_of(plain, self.version), self.version)

    def finish_pdu(self, pdu: Mapping[str, Any]) -> Event:
        """Hash and sign what another server has begun."""
        hashed = {**pdu, "hashes": {"sha256": content_hash(pdu, self.version)}}
        return self.finished(self._signed(hashed))

    def receive(self, event: Event) -> bool:
        """Put it behind its previous events, which must be known; it becomes a tip of this branch."""
        if event.event_id in self.events:
            return True
        if not all(parent in self.record.state_after for parent in event.prev_events):
            return False
        tips = tuple(tip for tip in self.tips if tip not in event.prev_events)
        self.append(event)
        self.tips = (*tips, event.event_id)
        return True

    def enter(self, join: Event, state: Iterable[Event], auth_chain: Iterable[Event]) -> None:
        """Begin with a join at another server and the state before it."""
        before = {}
        for event in auth_chain:
            self.events[event.event_id] = event
        for event in state:
            self.events[event.event_id] = event
            before[event.key] = event.event_id
        for parent in join.prev_events:
            self.record.state_after[parent] = before
        self.tips = ()
        self.receive(join)

    def state_before(self, event_id: str) -> list[Event]:
        """The events of the state in front of an event, which may be unknown if a known one follows it."""
        return [self.events[each] for each in self.record.state_before[event_id].values()]

    def current(self) -> dict[tuple[str, str], str]:
        """The state behind all tips."""
        return merged_state(self.version, [self.record.state_after[tip] for tip in self.tips], self.events)

    # Signatures

    def _signed(self, pdu: dict[str, Any]) -> dict[str, Any]:
        signers = {domain_of(pdu["sender"])}
        if self.version.event_id_in_pdu:
            signers.add(domain_of(pdu["event_id"]))
        authorizer = pdu["content"].get("join_authorised_via_users_server")
        if isinstance(authorizer, str):
            signers.add(domain_of(authorizer))
        return self.cosigned({**pdu, "signatures": {}}, signers)

    def cosigned(self, pdu: dict[str, Any], servers: Iterable[str]) -> dict[str, Any]:
        """The event with the signatures of those whose keys we have."""
        for server in servers:
            if server in self.keys:
                pdu = sign_event(pdu, server, self.keys[server], self.version)
        return pdu
