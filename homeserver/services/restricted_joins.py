"""Entering a room because one is in another room: who may, and who of ours vouches for it [cs "Restricted rooms"]."""

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from homeserver.core.auth.state import CREATE, JOIN_RULES, POWER_LEVELS
from homeserver.core.errors import MatrixError, forbidden
from homeserver.core.event import Event, StateKey
from homeserver.core.ids import is_room_id
from homeserver.core.power_levels import PowerLevels, power_levels
from homeserver.core.room_versions import RoomVersion
from homeserver.services.identity import Identity
from homeserver.services.room_heads import RoomHeads
from storage import restricted_joins
from storage.database import Connection, Database
from storage.rooms import Room
from storage.state_keys import StateKeys, user_key

AUTHORIZER = "join_authorised_via_users_server"
UNABLE_TO_AUTHORISE = "M_UNABLE_TO_AUTHORISE_JOIN"
UNABLE_TO_GRANT = "M_UNABLE_TO_GRANT_JOIN"


@frozen
class RestrictedJoins:
    """Finds the user of ours who authorizes a join."""

    database: Database
    heads: RoomHeads
    state_keys: StateKeys
    identity: Identity

    async def authorization(self, room: Room, user_id: str) -> Mapping[str, Any]:
        """What the join's content needs beside the membership: nothing, unless another room opens this one.

        Raises M_FORBIDDEN for who is in none of these rooms. Two errors say that another server should be asked:
        M_UNABLE_TO_AUTHORISE_JOIN where we do not follow all of the rooms, M_UNABLE_TO_GRANT_JOIN where nobody of
        ours may invite [ss "Restricted rooms"].
        """
        if not room.version.restricted:
            return {}
        state = await self._state(room, [CREATE, POWER_LEVELS, JOIN_RULES, user_key(user_id)])
        if not is_restricted(state.get(JOIN_RULES), room.version) or _is_invited(state, user_id):
            return {}
        user_nid = await self.state_keys.user_nid(user_id)
        async with self.database.read() as conn:
            allowed = allowed_rooms(state[JOIN_RULES])
            met = await restricted_joins.conditions(conn, user_nid, allowed)
            if not met.joined:
                raise _unable_to_tell() if met.unknown else _in_none_of_them()
            levels = power_levels(state.get(POWER_LEVELS), state.get(CREATE), room.version)
            authorizer = await self._authorizer(conn, room, levels)
        if authorizer is None:
            raise _unable_to_grant()
        return {AUTHORIZER: authorizer}

    async def _state(self, room: Room, keys: Sequence[StateKey]) -> Mapping[StateKey, Event]:
        """What the room's head has of the keys, which the join itself will need next."""
        head = await self.heads.get(room)
        if head is None:
            return {}
        await self.heads.ensure(head, keys)
        return head.events(keys)

    async def _authorizer(self, conn: Connection, room: Room, levels: PowerLevels) -> str | None:
        """Somebody of ours in the room who may invite [rooms/v8 "Authorization rules"]."""
        named = [user for user in {*levels.creators, *levels.users} if self.identity.is_ours(user)]
        able = [user for user in named if levels.of(user) >= levels.invite]
        found = await restricted_joins.first_joined(conn, room.nid, able) if able else None
        if found is None and levels.named["users_default"] >= levels.invite:
            found = await restricted_joins.any_joined(conn, room.nid, set(named) - set(able))
        return found


def is_restricted(join_rules: Event | None, version: RoomVersion) -> bool:
    """Can membership of another room open this one? Since v8, "knock_restricted" since v10."""
    rule = join_rules.content.get("join_rule") if join_rules is not None else None
    return (rule == "restricted" and version.restricted) or (
        rule == "knock_restricted" and version.knock_restricted
    )


def allowed_rooms(join_rules: Event) -> list[str]:
    """The rooms whose members may join [cs "m.room.join_rules"]."""
    allow = join_rules.content.get("allow")
    conditions = [item for item in allow if isinstance(item, dict)] if isinstance(allow, list) else []
    rooms = [item.get("room_id") for item in conditions if item.get("type") == "m.room_membership"]
    return [room_id for room_id in rooms if isinstance(room_id, str) and is_room_id(room_id)]


def needs_others(refusal: MatrixError) -> bool:
    """Is it only this server that cannot let the user in?"""
    return refusal.errcode in (UNABLE_TO_AUTHORISE, UNABLE_TO_GRANT)


def _in_none_of_them() -> MatrixError:
    return forbidden("You are in none of the rooms whose members may join this one")


def _unable_to_tell() -> MatrixError:
    text = "This server cannot tell whether you are in a room whose members may join this one"
    return MatrixError(400, UNABLE_TO_AUTHORISE, text)


def _unable_to_grant() -> MatrixError:
    return MatrixError(400, UNABLE_TO_GRANT, "Nobody on this server may let you into the room")


def _is_invited(state: Mapping[StateKey, Event], user_id: str) -> bool:
    member = state.get(user_key(user_id))
    return member is not None and member.membership in ("invite", "join")
