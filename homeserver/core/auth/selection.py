"""Which entries of the room state an event names as its authorization [ss "Auth events selection"]."""

from collections.abc import Mapping
from typing import Any

from homeserver.core.auth.state import CREATE, JOIN_RULES, POWER_LEVELS
from homeserver.core.event import StateKey
from homeserver.core.room_versions import RoomVersion


def auth_events_selection(
    event_type: str, sender: str, state_key: str | None, content: Mapping[str, Any], version: RoomVersion
) -> tuple[StateKey, ...]:
    """The state keys whose events, where they exist, belong into `auth_events`.

    To *judge* an event against a state, the create event is needed too, which is not among these where the room
    id implies it: see `auth_state_keys`.
    """
    if event_type == "m.room.create":
        return ()
    keys = [POWER_LEVELS, ("m.room.member", sender)]
    if not version.room_id_is_create_hash:
        keys.append(CREATE)  # until v11 [rooms/v12 auth 3.2]
    if event_type == "m.room.member" and state_key is not None:
        keys.extend(_for_member(state_key, content, version))
    return tuple(dict.fromkeys(keys))


def auth_state_keys(
    event_type: str, sender: str, state_key: str | None, content: Mapping[str, Any], version: RoomVersion
) -> tuple[StateKey, ...]:
    """All that `check_auth` may read of the room state: the selection and the create event."""
    selected = auth_events_selection(event_type, sender, state_key, content, version)
    return selected if CREATE in selected else (CREATE, *selected)


def _for_member(target: str, content: Mapping[str, Any], version: RoomVersion) -> list[StateKey]:
    membership = content.get("membership")
    keys: list[StateKey] = [("m.room.member", target)]
    if membership in ("join", "invite", "knock"):
        keys.append(JOIN_RULES)
    token = third_party_token(content) if membership == "invite" else None
    if token is not None:
        keys.append(("m.room.third_party_invite", token))
    authorizer = content.get("join_authorised_via_users_server")
    if membership == "join" and version.restricted and isinstance(authorizer, str):
        keys.append(("m.room.member", authorizer))  # since v8
    return keys


def third_party_token(content: Mapping[str, Any]) -> str | None:
    """`third_party_invite.signed.token` of a membership's content, where it is there and a string."""
    invite = content.get("third_party_invite")
    signed = invite.get("signed") if isinstance(invite, dict) else None
    token = signed.get("token") if isinstance(signed, dict) else None
    return token if isinstance(token, str) else None
