"""Moderation policy lists: what their rules say of users, servers and rooms [cs "Moderation policy lists"]."""

from collections.abc import Iterable

from attrs import field, frozen

from homeserver.core.event import Event
from homeserver.core.globs import Glob, glob
from homeserver.core.ids import domain_of

USER, SERVER, ROOM = "m.policy.rule.user", "m.policy.rule.server", "m.policy.rule.room"
TYPES = (USER, SERVER, ROOM)
BANS = ("m.ban", "org.matrix.mjolnir.ban")  # COMPAT(lists of before the specification): the second
MAX_ENTITY = 512  # characters; nothing that is longer has a name


@frozen
class Entities:
    """Some of one kind: by their names, or by patterns."""

    names: frozenset[str] = frozenset()
    patterns: tuple[Glob, ...] = ()

    def __contains__(self, name: str) -> bool:
        return name in self.names or any(pattern.matches(name) for pattern in self.patterns)


@frozen
class PolicyRules:
    """Who and what is banned."""

    users: Entities = field(factory=Entities)
    servers: Entities = field(factory=Entities)
    rooms: Entities = field(factory=Entities)

    def bans_user(self, user_id: str, *, ours: bool) -> bool:
        """By name, or with the whole server, which is never our own."""
        return user_id in self.users or (not ours and domain_of(user_id) in self.servers)


def policy_rules(events: Iterable[Event]) -> PolicyRules:
    """The bans of some lists. Rules without an entity, as removed ones are, say nothing."""
    found: dict[str, set[str]] = {kind: set() for kind in TYPES}
    for event in events:
        entity, wanted = event.content.get("entity"), event.content.get("recommendation")
        if event.type in found and wanted in BANS and isinstance(entity, str) and len(entity) <= MAX_ENTITY:
            found[event.type].add(entity)
    return PolicyRules(*(_entities(found[kind]) for kind in TYPES))


def _entities(named: set[str]) -> Entities:
    patterns = {name for name in named if "*" in name or "?" in name}
    return Entities(frozenset(named - patterns), tuple(map(glob, sorted(patterns))))
