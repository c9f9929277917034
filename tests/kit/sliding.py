"""Clients of sliding sync that fold what they are told."""

from collections.abc import Mapping
from typing import Any

import orjson
from attrs import define, evolve, field

from homeserver.core.sliding_answer import newer_form
from homeserver.core.sliding_request import parse_sliding_query
from homeserver.core.tokens import SlidingPos
from homeserver.services.sliding.sliding_sync import SlidingRequest, dumped
from tests.kit.syncing import Syncing

EXTENSIONS = {name: {"enabled": True} for name in ("account_data", "receipts", "typing", "e2ee")}
FACTS = ("membership", "name", "avatar", "is_dm", "joined_count", "invited_count", "bump_stamp", "heroes")


@define
class FoldedRoom:
    """What a client knows of a room."""

    facts: dict[str, Any] = field(factory=dict)
    stripped: Any = None
    state: dict[tuple[str, str], str] = field(factory=dict)
    timeline: list[str] = field(factory=list)
    senders: set[str] = field(factory=set)
    receipts: dict[tuple[str, str, str], str] = field(factory=dict)
    typing: frozenset[str] = frozenset()
    account_data: dict[str, Any] = field(factory=dict)


@define
class FoldedClient:
    """What a client knows after the answers that it took."""

    rooms: dict[str, FoldedRoom] = field(factory=dict)
    counts: dict[str, int] = field(factory=dict)
    account_data: dict[str, Any] = field(factory=dict)
    people: dict[str, dict[str, Any]] = field(factory=dict)  # profiles

    def take(self, answer: Mapping[str, Any]) -> None:
        """Fold one decoded answer in."""
        self.counts = {name: one["count"] for name, one in answer["lists"].items()}
        for room_id, told in answer["rooms"].items():
            if told.get("initial"):
                self.rooms[room_id] = FoldedRoom()
            _fold(self.rooms[room_id], told)
        extensions = answer["extensions"]
        for event in extensions.get("account_data", {}).get("global", ()):
            self.account_data[event["type"]] = event["content"]
        for room_id, events in extensions.get("account_data", {}).get("rooms", {}).items():
            self.rooms[room_id].account_data |= {event["type"]: event["content"] for event in events}
        for room_id, event in extensions.get("typing", {}).get("rooms", {}).items():
            self.rooms[room_id].typing = frozenset(event["content"]["user_ids"])
        for room_id, event in extensions.get("receipts", {}).get("rooms", {}).items():
            _fold_receipts(self.rooms[room_id], event["content"])
        for user_id, told in extensions.get("profiles", {}).get("users", {}).items():
            self._take_profile(user_id, told)

    def _take_profile(self, user_id: str, told: Mapping[str, Any] | None) -> None:
        if told is None:
            self.people.pop(user_id, None)
            return
        profile = self.people.setdefault(user_id, {})
        for name in told.get("removed", ()):
            profile.pop(name, None)
        profile |= told.get("updated", {})


def _fold(room: FoldedRoom, told: Mapping[str, Any]) -> None:
    room.facts |= {name: told[name] for name in FACTS if name in told}
    if told.get("name"):
        room.facts.pop("heroes", None)
    room.stripped = told.get("stripped_state")
    for event in told.get("required_state", ()):
        key = event["type"], event["state_key"]
        if "content" in event:
            room.state[key] = event["event_id"]
        else:
            del room.state[key]
    if told.get("limited") or told.get("expanded_timeline"):
        room.timeline.clear()
        room.senders.clear()
    room.timeline += [event["event_id"] for event in told.get("timeline", ())]
    room.senders |= {event["sender"] for event in told.get("timeline", ())}


def _fold_receipts(room: FoldedRoom, content: Mapping[str, Any]) -> None:
    for event_id, kinds in content.items():
        for kind, users in kinds.items():
            for user_id, data in users.items():
                room.receipts[user_id, kind, data.get("thread_id", "")] = event_id


@define
class SlidingDevice:
    """A client that syncs by windows and remembers."""

    syncing: Syncing
    user_id: str
    conn_id: str = ""
    pos: SlidingPos | None = None
    counted: bool = False  # as on the unstable path
    folded: FoldedClient = field(factory=FoldedClient)

    async def ask(self, body: Mapping[str, Any], timeout: float = 0) -> tuple[SlidingPos, dict[str, Any]]:
        """One request, whose answer is not taken."""
        kit = self.syncing.kit
        nid = await kit.state_keys.user_nid(self.user_id)
        body = {"extensions": EXTENSIONS, "conn_id": self.conn_id, **body}
        query = parse_sliding_query(body, self.user_id, max_subscriptions=100)
        query = evolve(query, counted=self.counted)
        request = SlidingRequest(self.user_id, await kit.notifier.active(nid), None, query, self.pos)
        answer = await self.syncing.sliding.sync(request, timeout)
        rooms = {room_id: newer_form(room) for room_id, room in answer.rooms.items()}
        told: dict[str, Any] = orjson.loads(dumped(answer, rooms))
        return answer.pos, told

    async def sync(self, body: Mapping[str, Any], timeout: float = 0) -> dict[str, Any]:
        """One request, folded into what the client knows."""
        self.pos, answer = await self.ask(body, timeout)
        self.folded.take(answer)
        return answer
