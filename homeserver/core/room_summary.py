"""What is told of a room to who may not be in it: directory, spaces, previews [cs "Room summaries"]."""

from collections.abc import Collection, Mapping
from typing import Any

from attrs import field, frozen

from homeserver.core.event import Event
from homeserver.core.room_versions import RoomVersion

SUMMARY_TYPES = tuple(
    f"m.room.{kind}"
    for kind in (
        "create",
        "name",
        "topic",
        "avatar",
        "canonical_alias",
        "join_rules",
        "guest_access",
        "history_visibility",
        "encryption",
    )
)
_OPEN_RULES = ("public", "knock", "knock_restricted")
_CONDITIONAL_RULES = ("restricted", "knock_restricted")


@frozen(eq=False)
class RoomSummary:
    """A room by the little state that describes it: events of SUMMARY_TYPES with an empty state key, by type."""

    room_id: str
    version: RoomVersion
    joined: int
    state: Mapping[str, Event] = field(repr=False)

    def text(self, kind: str, name: str) -> str | None:
        """A string of one event's content, where there is one."""
        event = self.state.get(f"m.room.{kind}")
        value = event.content.get(name) if event is not None else None
        return value if isinstance(value, str) else None

    @property
    def join_rule(self) -> str:
        """The join rule; "invite" where there is none [cs "m.room.join_rules"]."""
        return self.text("join_rules", "join_rule") or "invite"

    @property
    def room_type(self) -> str | None:
        """What kind of room it is, if it is a special one [cs "Types"]."""
        return self.text("create", "type")

    @property
    def is_world_readable(self) -> bool:
        """May everybody read it?"""
        return self.text("history_visibility", "history_visibility") == "world_readable"

    @property
    def allowed_rooms(self) -> list[str]:
        """The rooms whose members may join [cs "Restricted rooms"]."""
        if self.join_rule not in _CONDITIONAL_RULES:
            return []
        allow = self.state["m.room.join_rules"].content.get("allow")
        conditions = [item for item in allow if isinstance(item, dict)] if isinstance(allow, list) else []
        named = [item.get("room_id") for item in conditions if item.get("type") == "m.room_membership"]
        return [room_id for room_id in named if isinstance(room_id, str)]

    @property
    def is_open(self) -> bool:
        """May everybody know of it?"""
        return self.join_rule in _OPEN_RULES or self.is_world_readable

    def is_open_to(self, membership: str | None, joined_rooms: Collection[str]) -> bool:
        """May somebody with this membership, who is in those rooms, know of it?"""
        if self.is_open or membership in ("join", "invite", "knock"):
            return True
        return any(room_id in joined_rooms for room_id in self.allowed_rooms)

    def public_form(self) -> dict[str, Any]:
        """An entry of the room directory [cs `PublishedRoomsChunk`]."""
        told: dict[str, Any] = {
            "room_id": self.room_id,
            "num_joined_members": self.joined,
            "world_readable": self.is_world_readable,
            "guest_can_join": self.text("guest_access", "guest_access") == "can_join",
            "join_rule": self.join_rule,
            "name": self.text("name", "name"),
            "topic": self.text("topic", "topic"),
            "avatar_url": self.text("avatar", "url"),
            "canonical_alias": self.text("canonical_alias", "alias"),
            "room_type": self.room_type,
        }
        return {name: value for name, value in told.items() if value is not None and value != ""}

    def full_form(self) -> dict[str, Any]:
        """The same with what previews and spaces tell, too [cs `RoomSummary`]."""
        told = {**self.public_form(), "room_version": self.version.name}
        algorithm = self.text("encryption", "algorithm")
        if algorithm is not None:
            told["encryption"] = algorithm
        if self.allowed_rooms:
            told["allowed_room_ids"] = self.allowed_rooms
        return told

    def mentions(self, term: str) -> bool:
        """Does its name, topic or alias contain `term` (in lower case)?"""
        texts = (
            self.text("name", "name"),
            self.text("topic", "topic"),
            self.text("canonical_alias", "alias"),
        )
        return any(term in text.lower() for text in texts if text)
