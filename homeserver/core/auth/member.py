"""Authorization of changes of membership [rooms/v12 auth 5]."""

from homeserver.core.auth.rejection import Rejected, reject_if
from homeserver.core.auth.state import AuthState
from homeserver.core.auth.third_party_invite import check_third_party_invite
from homeserver.core.event import Event


def check_member(event: Event, state: AuthState, *, authorizer_signed: bool) -> None:
    """May the event's sender change the membership of the user its state key names?"""
    malformed = event.state_key is None or "membership" not in event.content
    reject_if(malformed, "rooms/v12 auth 5.1", "no state key or no membership")
    if state.version.restricted and "join_authorised_via_users_server" in event.content:
        reject_if(
            not authorizer_signed, "rooms/v12 auth 5.2.1", "the authorizing server has not signed"
        )  # since v8
    match event.membership:
        case "join":
            _check_join(event, state)
        case "invite":
            _check_invite(event, state)
        case "leave":
            _check_leave(event, state)
        case "ban":
            _check_ban(event, state)
        case "knock" if state.version.knock:  # since v7
            _check_knock(event, state)
        case _:
            raise Rejected("rooms/v12 auth 5.8", "the membership is unknown")


def _check_join(event: Event, state: AuthState) -> None:
    """Rules [rooms/v12 auth 5.3]."""
    if _is_first_join(event, state):
        return  # [rooms/v12 auth 5.3.1]
    reject_if(event.sender != event.state_key, "rooms/v12 auth 5.3.2", "nobody joins for another user")
    membership = state.membership(event.sender)
    reject_if(membership == "ban", "rooms/v12 auth 5.3.3", "the user is banned")
    rule, version = state.join_rule, state.version
    invited = membership in ("invite", "join")
    if invited and (rule == "invite" or (rule == "knock" and version.knock)):
        return  # [rooms/v12 auth 5.3.4]
    if _is_restricted(rule, state):
        if not invited:  # [rooms/v12 auth 5.3.5.1]
            _check_authorizer(event, state)
        return  # [rooms/v12 auth 5.3.5.3]
    if rule == "public":
        return  # [rooms/v12 auth 5.3.6]
    raise Rejected("rooms/v12 auth 5.3.7", "the join rule asks for an invitation")


def _is_first_join(event: Event, state: AuthState) -> bool:
    """Is it the creator's own join right behind the create event? Until v10 content.creator, since v11 the sender."""
    create = state.create
    if create is None or event.prev_events != (create.event_id,):
        return False
    creator = create.content.get("creator") if state.version.create_names_creator else create.sender
    return event.state_key == creator


def _is_restricted(rule: object, state: AuthState) -> bool:
    """Does membership of another room open this one? Since v8; "knock_restricted" since v10."""
    if rule == "restricted":
        return state.version.restricted
    return rule == "knock_restricted" and state.version.knock_restricted


def _check_authorizer(event: Event, state: AuthState) -> None:
    """Does somebody who may invite vouch for the conditions? [rooms/v12 auth 5.3.5.2]"""
    authorizer = event.content.get("join_authorised_via_users_server")
    levels = state.power_levels
    may_invite = (
        isinstance(authorizer, str)
        and state.membership(authorizer) == "join"
        and levels.of(authorizer) >= levels.invite
    )
    reject_if(not may_invite, "rooms/v12 auth 5.3.5.2", "nobody who may invite authorizes the join")


def _check_invite(event: Event, state: AuthState) -> None:
    """Rules [rooms/v12 auth 5.4]."""
    if "third_party_invite" in event.content:
        return check_third_party_invite(event, state)  # [rooms/v12 auth 5.4.1]
    reject_if(
        state.membership(event.sender) != "join", "rooms/v12 auth 5.4.2", "the sender is not in the room"
    )
    target = state.membership(_target(event))
    reject_if(target in ("join", "ban"), "rooms/v12 auth 5.4.3", "the user is in the room already or banned")
    levels = state.power_levels
    if levels.of(event.sender) >= levels.invite:
        return None  # [rooms/v12 auth 5.4.4]
    raise Rejected("rooms/v12 auth 5.4.5", "the sender may not invite")


def _check_leave(event: Event, state: AuthState) -> None:
    """Leaving, declining, kicking, unbanning [rooms/v12 auth 5.5]."""
    sender = state.membership(event.sender)
    if event.sender == event.state_key:
        may_leave = sender in ("invite", "join") or (sender == "knock" and state.version.knock)
        reject_if(not may_leave, "rooms/v12 auth 5.5.1", "there is nothing to leave")
        return
    reject_if(sender != "join", "rooms/v12 auth 5.5.2", "the sender is not in the room")
    levels, target = state.power_levels, _target(event)
    level = levels.of(event.sender)
    stays_banned = state.membership(target) == "ban" and level < levels.ban
    reject_if(stays_banned, "rooms/v12 auth 5.5.3", "the sender may not lift a ban")
    if level >= levels.kick and levels.of(target) < level:
        return  # [rooms/v12 auth 5.5.4]
    raise Rejected("rooms/v12 auth 5.5.5", "the sender may not kick the user")


def _check_ban(event: Event, state: AuthState) -> None:
    """Rules [rooms/v12 auth 5.6]."""
    reject_if(
        state.membership(event.sender) != "join", "rooms/v12 auth 5.6.1", "the sender is not in the room"
    )
    levels = state.power_levels
    level = levels.of(event.sender)
    if level >= levels.ban and levels.of(_target(event)) < level:
        return  # [rooms/v12 auth 5.6.2]
    raise Rejected("rooms/v12 auth 5.6.3", "the sender may not ban the user")


def _check_knock(event: Event, state: AuthState) -> None:
    """Rules [rooms/v12 auth 5.7]; since v7."""
    rule = state.join_rule
    knockable = rule == "knock" or (rule == "knock_restricted" and state.version.knock_restricted)
    reject_if(not knockable, "rooms/v12 auth 5.7.1", "the join rule does not allow knocking")
    reject_if(event.sender != event.state_key, "rooms/v12 auth 5.7.2", "nobody knocks for another user")
    if state.membership(event.sender) not in ("ban", "invite", "join"):
        return  # [rooms/v12 auth 5.7.3]
    raise Rejected("rooms/v12 auth 5.7.4", "the user is banned, invited or in the room")


def _target(event: Event) -> str:
    assert event.state_key is not None, "rule 5.1 has seen to it"
    return event.state_key
