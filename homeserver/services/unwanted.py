"""Whom users do not want to hear from, read from their account data."""

from collections.abc import Collection, Sequence

from homeserver.core.errors import MatrixError
from homeserver.core.unwanted import (
    IGNORED_USERS,
    INVITE_CONFIG,
    INVITE_CONFIG_LISTS,
    INVITE_TYPES,
    Invited,
    InviteRules,
    ignored_users,
    invite_rules,
)
from storage.account_data import global_of_accounts, global_of_user
from storage.database import Connection
from storage.events import StoredEvent


async def wishes(conn: Connection, user_nid: int) -> tuple[frozenset[str], InviteRules]:
    """Whom a user ignores, and who may invite them."""
    told = await global_of_user(conn, user_nid, [IGNORED_USERS, *INVITE_TYPES])
    rules = invite_rules(told.get(INVITE_CONFIG), told.get(INVITE_CONFIG_LISTS))
    return ignored_users(told.get(IGNORED_USERS)), rules


async def without_ignored(
    conn: Connection, user_nid: int, events: Sequence[StoredEvent]
) -> list[StoredEvent]:
    """Events less the messages of users whom the reader ignores [cs "Ignoring Users"]."""
    if not any(not stored.event.is_state for stored in events):
        return list(events)
    told = await global_of_user(conn, user_nid, [IGNORED_USERS])
    ignored = ignored_users(told.get(IGNORED_USERS))
    return [stored for stored in events if stored.event.is_state or stored.event.sender not in ignored]


async def refuse_unwelcome_invites(conn: Connection, inviter: str, invitees: Collection[str]) -> None:
    """M_INVITE_BLOCKED where one of our users wants no invites of this user [cs "Invite permission"]."""
    for user_id, told in (await global_of_accounts(conn, invitees, INVITE_TYPES)).items():
        rules = invite_rules(told.get(INVITE_CONFIG), told.get(INVITE_CONFIG_LISTS))
        if rules.judge(inviter) is Invited.BLOCKED:
            raise MatrixError(403, "M_INVITE_BLOCKED", f"{user_id} wants no invites from you")
