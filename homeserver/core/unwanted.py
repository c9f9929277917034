"""From whom a user wants to hear nothing: ignored users, and rules for invites, as their account data say.

Account data are what a client wrote: anything of the wrong shape in them is as if it were not there.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

from attrs import frozen

from homeserver.core.globs import glob
from homeserver.core.ids import domain_of

IGNORED_USERS = "m.ignored_user_list"
INVITE_CONFIG = "m.invite_permission_config"
INVITE_CONFIG_LISTS = "org.matrix.msc4155.invite_permission_config"
INVITE_TYPES = (INVITE_CONFIG, INVITE_CONFIG_LISTS)

MAX_PATTERNS = 1_000  # of one list that are looked at


class Invited(Enum):
    """What becomes of an invite."""

    WELCOME = auto()
    IGNORED = auto()  # the user is not shown it
    BLOCKED = auto()  # the inviter is refused


@frozen
class InviteRules:
    """Who may invite a user: patterns in the order in which they are tried, and what is true for all others."""

    users: tuple[tuple[str, Invited], ...] = ()
    servers: tuple[tuple[str, Invited], ...] = ()
    others: Invited = Invited.WELCOME

    def judge(self, inviter: str) -> Invited:
        """The first rule that matches counts, those for users first [MSC4155]."""
        for subject, rules in ((inviter, self.users), (domain_of(inviter), self.servers)):
            for pattern, verdict in rules:
                if glob(pattern).matches(subject):
                    return verdict
        return self.others


def ignored_users(content: object) -> frozenset[str]:
    """Whom m.ignored_user_list names [cs "Ignoring Users"]."""
    users = content.get("ignored_users") if isinstance(content, Mapping) else None
    return frozenset(users) if isinstance(users, Mapping) else frozenset()


def invite_rules(config: object, lists: object = None) -> InviteRules:
    """The rules of m.invite_permission_config [cs "Invite permission"] and of the lists of [MSC4155]."""
    told = lists if isinstance(lists, Mapping) and lists.get("enabled", True) is not False else {}
    blocks = isinstance(config, Mapping) and config.get("default_action") == "block"
    return InviteRules(
        _rules(told, "users"), _rules(told, "servers"), Invited.BLOCKED if blocks else Invited.WELCOME
    )


def _rules(lists: Mapping[str, Any], subject: str) -> tuple[tuple[str, Invited], ...]:
    order = (("allowed", Invited.WELCOME), ("ignored", Invited.IGNORED), ("blocked", Invited.BLOCKED))
    found: list[tuple[str, Invited]] = []
    for name, verdict in order:
        listed = lists.get(f"{name}_{subject}")
        patterns = listed[:MAX_PATTERNS] if isinstance(listed, list) else ()
        found += [(pattern, verdict) for pattern in patterns if isinstance(pattern, str)]
    return tuple(found)
