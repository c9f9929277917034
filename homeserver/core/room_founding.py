"""What a new room begins with: presets and options of a creation become its first events [cs "Creation"].

Pure: the caller fills in who the members are and writes the events. Order and precedence are the specification's:
create, the creator's join, power levels, canonical alias, preset, initial state, name and topic, invites.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from homeserver.core.event import StateKey
from homeserver.core.room_versions import RoomVersion

Content = Mapping[str, Any]
StateDraft = tuple[StateKey, Content]

CREATE = ("m.room.create", "")
POWER_LEVELS = ("m.room.power_levels", "")
CREATOR_LEVEL = 100


@frozen
class Preset:
    """What a preset sets [cs "Creation"]."""

    join_rule: str
    guests_can_join: bool
    invite_level: int
    trusts_invited: bool = False

    def state(self) -> list[StateDraft]:
        """Its events, in order."""
        drafts: list[StateDraft] = [
            (("m.room.join_rules", ""), {"join_rule": self.join_rule}),
            (("m.room.history_visibility", ""), {"history_visibility": "shared"}),
        ]
        if self.guests_can_join:  # without the event they are forbidden [cs "m.room.guest_access"]
            drafts.append((("m.room.guest_access", ""), {"guest_access": "can_join"}))
        return drafts


PRESETS = {
    "private_chat": Preset("invite", True, 0),
    "trusted_private_chat": Preset("invite", True, 0, trusts_invited=True),
    "public_chat": Preset("public", False, 50),
}


@frozen(kw_only=True)
class NewRoom:
    """What somebody wants a new room to be. `alias` is the whole alias."""

    version: RoomVersion
    creator: str
    preset: Preset
    creation_content: Content = field(factory=dict)
    level_override: Content = field(factory=dict)
    initial_state: Sequence[StateDraft] = ()
    name: str | None = None
    topic: str | None = None
    alias: str | None = None
    invite: Sequence[str] = ()
    is_direct: bool = False


def create_content(room: NewRoom) -> dict[str, Any]:
    """The content of the create event: the client's, with what only the server may say."""
    content = dict(room.creation_content)
    content["room_version"] = room.version.name
    content.pop("creator", None)
    if room.version.create_names_creator:
        content["creator"] = room.creator  # until v10
    if room.version.privileged_creators and room.preset.trusts_invited and room.invite:
        named = content.get("additional_creators", [])
        if isinstance(named, list) and all(isinstance(user, str) for user in named):  # rules refuse others
            everyone = dict.fromkeys([*named, *room.invite])
            content["additional_creators"] = [user for user in everyone if user != room.creator]
    return content


def power_levels_content(room: NewRoom) -> dict[str, Any]:
    """Levels in which the creator (and whom a preset trusts) may do everything, others may speak."""
    privileged = room.version.privileged_creators
    content: dict[str, Any] = {
        "users": {} if privileged else _first_users(room),  # creators stand above all levels since v12
        "users_default": 0,
        "events": {
            "m.room.name": 50,
            "m.room.avatar": 50,
            "m.room.canonical_alias": 50,
            "m.room.power_levels": 100,
            "m.room.history_visibility": 100,
            "m.room.server_acl": 100,
            "m.room.encryption": 100,
            "m.room.tombstone": 150 if privileged else 100,  # since v12 above state_default [cs "Creation"]
        },
        "events_default": 0,
        "state_default": 50,
        "ban": 50,
        "kick": 50,
        "redact": 50,
        "invite": room.preset.invite_level,
    }
    return {**content, **room.level_override}


def first_state(room: NewRoom) -> list[StateDraft]:
    """The state between the creator's join and the invites; of several values of a key the last one counts."""
    drafts: list[StateDraft] = []
    if room.alias is not None:
        drafts.append((("m.room.canonical_alias", ""), {"alias": room.alias}))
    drafts += [*room.preset.state(), *room.initial_state]
    if room.name is not None:
        drafts.append((("m.room.name", ""), {"name": room.name}))
    if room.topic is not None:
        drafts.append((("m.room.topic", ""), topic_content(room.topic)))
    last = {key: index for index, (key, _) in enumerate(drafts)}
    kept = [draft for index, draft in enumerate(drafts) if last[draft[0]] == index]
    levels = [draft for draft in kept if draft[0] == POWER_LEVELS]
    others = [draft for draft in kept if draft[0] != POWER_LEVELS]
    return [*(levels or [(POWER_LEVELS, power_levels_content(room))]), *others]


def topic_content(topic: str) -> dict[str, Any]:
    """A plain topic, in both of its forms [cs "m.room.topic"]."""
    return {"topic": topic, "m.topic": {"m.text": [{"body": topic}]}}  # since v1.15


def _first_users(room: NewRoom) -> dict[str, int]:
    trusted = room.invite if room.preset.trusts_invited else ()
    return dict.fromkeys([room.creator, *trusted], CREATOR_LEVEL)
