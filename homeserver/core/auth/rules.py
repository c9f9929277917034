"""The authorization rules in the order of the specification [rooms/v12 "Authorisation rules"].

Numbers are those of the newest room version that has the rule; what older versions do otherwise hangs on a
property of the version and says so at its line. Rules about membership, power levels and third-party
invites have files of their own. Two questions are asked of an event: may it name the auth events that it names
(`check_auth_events`, rules 2 and 3), and does a given state allow it (`check_auth`, all the others).
"""

from collections.abc import Container, Sequence

from homeserver.core.auth.member import check_member
from homeserver.core.auth.power_levels import check_power_levels
from homeserver.core.auth.rejection import Rejected, reject_if
from homeserver.core.auth.selection import auth_events_selection
from homeserver.core.auth.state import CREATE, AuthState
from homeserver.core.event import Event, StateKey
from homeserver.core.ids import domain_of, is_user_id
from homeserver.core.room_versions import ROOM_VERSIONS


def check_auth(event: Event, state: AuthState, *, authorizer_signed: bool = True) -> None:
    """Does `state` allow `event`? Raises Rejected with the first rule that does not.

    `authorizer_signed`: has the server of `join_authorised_via_users_server` validly signed the event? Signatures
    need keys, so the caller has checked it (see `receipt_checks`).
    """
    if event.type == "m.room.create":
        return _check_create(event)
    _check_room(event, state)
    if event.type == "m.room.aliases" and state.version.aliases_need_own_domain:
        return _check_aliases(event)
    if event.type == "m.room.member":
        return check_member(event, state, authorizer_signed=authorizer_signed)
    reject_if(state.membership(event.sender) != "join", "rooms/v12 auth 6", "the sender is not in the room")
    if event.type == "m.room.third_party_invite":
        return _check_third_party_invite_event(event, state)
    _check_required_level(event, state)
    if event.type == "m.room.power_levels":
        return check_power_levels(event, state)
    if event.type == "m.room.redaction" and state.version.redactions_need_auth:
        return _check_redaction(event, state)
    return None  # otherwise allow [rooms/v12 auth 11]


def check_auth_events(
    event: Event, auth_events: Sequence[Event], *, rejected: Container[str], create: Event | None
) -> AuthState:
    """May `event` name these `auth_events` (all that it names)? The answer is the state which they make.

    `rejected` holds the ids of events that were rejected on receipt. `create` is the room's create event; it
    counts only where the room id implies it [rooms/v12 auth 2].
    """
    version = event.version
    state: dict[StateKey, Event] = {}
    if version.room_id_is_create_hash and event.type != "m.room.create":
        _check_implied_create(event, create, rejected)
    selected = auth_events_selection(event.type, event.sender, event.state_key, event.content, version)
    for auth_event in auth_events:
        key = (auth_event.type, auth_event.state_key)
        reject_if(key in state, "rooms/v12 auth 3.1", f"two auth events for {key}")
        reject_if(key not in selected, "rooms/v12 auth 3.2", f"{key} is no authorization of such an event")
        reject_if(
            auth_event.event_id in rejected, "rooms/v12 auth 3.3", f"{auth_event.event_id} was rejected"
        )
        reject_if(
            auth_event.room_id != event.room_id,
            "rooms/v12 auth 3.5",
            f"{auth_event.event_id} is of another room",
        )
        state[auth_event.key] = auth_event
    if version.room_id_is_create_hash and create is not None:
        state[CREATE] = create
    elif event.type != "m.room.create":
        reject_if(CREATE not in state, "rooms/v11 auth 2.4", "no create event among the auth events")
    return AuthState(state, version)


def _check_create(event: Event) -> None:
    """May a room begin with `event`? [rooms/v12 auth 1]"""
    version, content = event.version, event.content
    reject_if(bool(event.prev_events), "rooms/v12 auth 1.1", "a create event has no previous events")
    if version.room_id_is_create_hash:
        reject_if("room_id" in event.pdu, "rooms/v12 auth 1.2", "the create event must not name a room id")
    else:
        own_domain = domain_of(event.room_id) == domain_of(event.sender)
        reject_if(not own_domain, "rooms/v11 auth 1.2", "the room id is of another server")
    named_version = content.get("room_version", "1")
    known = isinstance(named_version, str) and named_version in ROOM_VERSIONS
    reject_if(not known, "rooms/v12 auth 1.3", "the room version is unknown")
    if version.create_names_creator:
        reject_if("creator" not in content, "rooms/v10 auth 1.4", "no creator is named")
    if version.privileged_creators and "additional_creators" in content:
        creators = content["additional_creators"]
        valid = isinstance(creators, list) and all(map(is_user_id, creators))
        reject_if(not valid, "rooms/v12 auth 1.4", "additional creators must be a list of user ids")
    # otherwise allow [rooms/v12 auth 1.5]


def _check_implied_create(event: Event, create: Event | None, rejected: Container[str]) -> None:
    """Is the room id that of an accepted create event?"""
    accepted = create is not None and create.type == "m.room.create" and create.event_id not in rejected
    fits = create is not None and event.room_id[1:] == create.event_id[1:]
    reject_if(not (accepted and fits), "rooms/v12 auth 2", "the room id names no accepted create event")


def _check_room(event: Event, state: AuthState) -> None:
    """Is the room the event's room, and are other servers' users allowed in it? [rooms/v12 auth 4]"""
    create = state.create
    if create is None:
        raise Rejected("rooms/v12 auth 2", "the room has no create event")  # until v11 2.4
    reject_if(create.room_id != event.room_id, "rooms/v12 auth 2", "the create event is of another room")
    if create.content.get("m.federate") is False:
        local = domain_of(event.sender) == domain_of(create.sender)
        reject_if(not local, "rooms/v12 auth 4", "the room is closed to other servers")


def _check_aliases(event: Event) -> None:
    """May the server list its aliases? [rooms/v5 auth 4]"""
    if event.state_key is None:
        raise Rejected("rooms/v5 auth 4.1", "no state key")
    own = domain_of(event.sender) == event.state_key
    reject_if(not own, "rooms/v5 auth 4.2", "aliases are listed by their own server")
    # otherwise allow [rooms/v5 auth 4.3]


def _check_third_party_invite_event(event: Event, state: AuthState) -> None:
    """May the sender invite somebody who has no user id yet? [rooms/v12 auth 7]"""
    levels = state.power_levels
    reject_if(levels.of(event.sender) < levels.invite, "rooms/v12 auth 7.1", "the sender may not invite")


def _check_required_level(event: Event, state: AuthState) -> None:
    """Has the sender the level for the event type, and owns the user a state key names?"""
    levels = state.power_levels
    required = levels.to_send(event.type, is_state=event.is_state)
    reject_if(
        required > levels.of(event.sender),
        "rooms/v12 auth 8",
        f"{event.type} needs power level {required}",
    )
    key = event.state_key
    foreign = key is not None and key.startswith("@") and key != event.sender
    reject_if(foreign, "rooms/v12 auth 9", "the state key names another user")


def _check_redaction(event: Event, state: AuthState) -> None:
    """Until v2 the rules judge a redaction's target [rooms/v2 auth 11]."""
    levels = state.power_levels
    if levels.of(event.sender) >= levels.redact:
        return  # [rooms/v2 auth 11.1]
    if domain_of(event.redacts or "") == domain_of(event.event_id):
        return  # [rooms/v2 auth 11.2]
    raise Rejected("rooms/v2 auth 11.3", "the sender may not redact events of other servers")
