"""State whose content must have a certain shape before our users say it; the rooms' rules let some of it through."""

from collections.abc import Mapping
from typing import Any

from homeserver.core.auth.selection import third_party_token
from homeserver.core.errors import bad_json, invalid_param
from homeserver.core.event_build import Draft
from homeserver.core.ids import is_room_alias, is_user_id
from homeserver.core.power_levels import NAMED_LEVELS, read_level
from homeserver.core.room_versions import RoomVersion

VISIBILITIES = ("world_readable", "shared", "invited", "joined")


def check_state_content(draft: Draft, version: RoomVersion) -> None:
    """Refuse content that clients could not read."""
    match draft.type:
        case "m.room.canonical_alias":
            _check_canonical_alias(draft.content)
        case "m.room.power_levels":
            _check_power_levels(draft.content, version)
        case "m.room.history_visibility" if draft.content.get("history_visibility") not in VISIBILITIES:
            raise bad_json(f"history_visibility must be one of: {', '.join(VISIBILITIES)}")
        case "m.room.tombstone" if draft.content.get("replacement_room") == draft.room_id:
            raise invalid_param("A room cannot replace itself")


def check_member_content(content: Mapping[str, Any]) -> None:
    """What of a membership names other state must be such names."""
    authorizer = content.get("join_authorised_via_users_server")
    if authorizer is not None and not is_user_id(authorizer):
        raise bad_json("join_authorised_via_users_server must be a user id")
    if "\x00" in (third_party_token(content) or ""):
        raise bad_json("The token of a third-party invite cannot contain U+0000")


def named_aliases(content: Mapping[str, Any]) -> set[str]:
    """The aliases that a canonical alias event names, the malformed ones left out."""
    alternatives = content.get("alt_aliases")
    named = [content.get("alias"), *(alternatives if isinstance(alternatives, list) else [])]
    return {alias for alias in named if isinstance(alias, str) and alias}


def without_alias(content: Mapping[str, Any], alias: str) -> dict[str, Any]:
    """A canonical alias event's content that does not name `alias` any more."""
    left = dict(content)
    if left.get("alias") == alias:
        del left["alias"]
    if isinstance(left.get("alt_aliases"), list):
        left["alt_aliases"] = [other for other in left["alt_aliases"] if other != alias]
        if not left["alt_aliases"]:
            del left["alt_aliases"]
    return left


def _check_canonical_alias(content: Mapping[str, Any]) -> None:
    """[cs "m.room.canonical_alias"]; an alias that is null or empty is none."""
    alias, alternatives = content.get("alias"), content.get("alt_aliases", [])
    if not isinstance(alternatives, list):
        raise bad_json("alt_aliases must be a list")
    for named in [*([alias] if alias not in (None, "") else []), *alternatives]:
        if not is_room_alias(named):
            raise invalid_param("alias and alt_aliases must be room aliases")


def _check_power_levels(content: Mapping[str, Any], version: RoomVersion) -> None:
    """Levels are numbers, of users that can exist [cs "m.room.power_levels"]."""
    sections = {name: content.get(name, {}) for name in ("users", "events", "notifications")}
    for name, section in sections.items():
        if not isinstance(section, dict):
            raise bad_json(f"{name} must be an object")
    named = [content[name] for name in NAMED_LEVELS if name in content]
    levels = [*named, *(level for section in sections.values() for level in section.values())]
    if any(read_level(level, version) is None for level in levels):
        raise bad_json("Power levels must be integers")
    if not all(map(is_user_id, sections["users"])):
        raise bad_json("The keys of users must be user ids")
