"""Which state of its rooms a client of sliding sync wants: patterns of types and keys [MSC4186 "RequiredStateRequest"].

A room may be wanted for several reasons, each with a wish of its own; what any of them wants is told.
"""

import hashlib
from collections.abc import Iterable

from attrs import field, frozen

MEMBER = "m.room.member"
Pattern = tuple[str | None, str | None]  # (type, state key); None: any


@frozen
class Patterns:
    """Patterns sorted by how they match, so that asking is cheap."""

    exact: frozenset[tuple[str, str]] = frozenset()
    types: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    everything: bool = False

    def match(self, kind: str, key: str) -> bool:
        """Does any of them match?"""
        return self.everything or (kind, key) in self.exact or kind in self.types or key in self.keys

    @property
    def wild(self) -> bool:
        """May they match keys that they do not name?"""
        return self.everything or bool(self.types) or bool(self.keys)


NOTHING = Patterns()


def patterns(given: Iterable[Pattern]) -> Patterns:
    """The same, sorted."""
    found = set(given)
    return Patterns(
        exact=frozenset((kind, key) for kind, key in found if kind is not None and key is not None),
        types=frozenset(kind for kind, key in found if kind is not None and key is None),
        keys=frozenset(key for kind, key in found if kind is None and key is not None),
        everything=(None, None) in found,
    )


@frozen
class RequiredState:
    """One `required_state` of a request."""

    include: Patterns = NOTHING
    exclude: Patterns = NOTHING
    lazy_members: bool = False

    def wants(self, kind: str, key: str) -> bool:
        """Is this key wanted, speakers aside?"""
        return self.include.match(kind, key) and not self.exclude.match(kind, key)


def digest_of(value: object) -> int:
    """A number for a value that is written out the same each time."""
    return int.from_bytes(hashlib.sha256(repr(value).encode()).digest()[:8], "big", signed=True)


def _text(part: RequiredState) -> str:
    return repr([_sorted(part.include), _sorted(part.exclude), part.lazy_members])


def _sorted(given: Patterns) -> tuple[object, ...]:
    return sorted(given.exact), sorted(given.types), sorted(given.keys), given.everything


@frozen
class StateWish:
    """What all the reasons to tell a room want of its state [MSC4186 "Combining required_state"]."""

    parts: frozenset[RequiredState] = frozenset()
    digest: int = field(init=False, eq=False)

    @digest.default
    def _digest(self) -> int:
        """Tells wishes apart after a restart."""
        return digest_of(sorted(_text(part) for part in self.parts))

    @property
    def lazy_members(self) -> bool:
        """Are the members wanted who are needed to show the timeline?"""
        return any(part.lazy_members for part in self.parts)

    def wants(self, kind: str, key: str) -> bool:
        """Is this key wanted?"""
        return any(part.wants(kind, key) for part in self.parts)

    @property
    def wild(self) -> bool:
        """May it want keys that it does not name?"""
        return any(part.include.wild for part in self.parts)

    @property
    def all_members(self) -> bool:
        """May it want members that it does not name?"""
        return any(part.include.everything or MEMBER in part.include.types for part in self.parts)

    def named(self) -> set[tuple[str, str]]:
        """The keys that it names, and members whom it names as keys of any type."""
        found = {pair for part in self.parts for pair in part.include.exact}
        return found | {(MEMBER, key) for part in self.parts for key in part.include.keys}

    def joined_with(self, other: "StateWish") -> "StateWish":
        """What either wants."""
        return self if other.parts <= self.parts else StateWish(self.parts | other.parts)


NO_STATE = StateWish()
