"""Filters: which events a client wants to see [cs "Filtering"].

A filter is parsed once, into frozen values that are cheap to ask; equal definitions give equal values. `related_by_…`
needs to know other events and so is only kept here; whoever pages through a room obeys it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from attrs import frozen

from homeserver.core.errors import bad_json
from homeserver.core.event import Event
from homeserver.core.globs import Glob, glob

T = TypeVar("T", str, int, bool, dict[str, Any], list[Any])
JSONObject = Mapping[str, Any]

MAX_ENTRIES = 10_000  # of one list
_NAMES = {str: "a string", int: "an integer", bool: "a boolean", dict: "an object", list: "a list"}
_MAX_INTEGER = 2**53 - 1


@frozen
class Selection:
    """Which of many names: `only` those (None: all), but never `never`."""

    only: frozenset[str] | None = None
    never: frozenset[str] = frozenset()

    def keeps(self, name: str) -> bool:
        """Is it wanted?"""
        return name not in self.never and (self.only is None or name in self.only)

    @property
    def is_everything(self) -> bool:
        """Does it leave nothing out?"""
        return self.only is None and not self.never


@frozen
class Patterns:
    """A list of types in which `*` stands for any characters."""

    exact: frozenset[str]
    globs: tuple[Glob, ...]

    def match(self, kind: str) -> bool:
        """Does any of them match?"""
        return kind in self.exact or any(pattern.matches(kind) for pattern in self.globs)


@frozen
class TypeSelection:
    """Which types: `only` those that match (None: all), but never those that match `never`."""

    only: Patterns | None = None
    never: Patterns | None = None

    def keeps(self, kind: str) -> bool:
        """Is it wanted?"""
        if self.never is not None and self.never.match(kind):
            return False
        return self.only is None or self.only.match(kind)


@frozen
class EventFilter:
    """[cs `EventFilter`]. `limit` is None where the client has no wish."""

    limit: int | None = None
    senders: Selection = Selection()
    types: TypeSelection = TypeSelection()

    def keeps(self, kind: str, sender: str = "") -> bool:
        """Is something of this type wanted? What has no sender is not judged by it."""
        return self.types.keeps(kind) and (not sender or self.senders.keeps(sender))

    @property
    def keeps_everything(self) -> bool:
        """Is only the number of events limited, if that?"""
        return self.senders.is_everything and self.types == TypeSelection()


@frozen
class LazyMembers:
    """[cs "Lazy-loading room members"]: only members who matter for the events told; also those told before?"""

    lazy: bool = False
    redundant: bool = False


@frozen
class RelatedBy:
    """Only events that others relate to: with one of these relation types, by one of these senders [MSC3440]."""

    rel_types: frozenset[str] | None = None
    senders: frozenset[str] | None = None


@frozen
class RoomEventFilter:
    """[cs `RoomEventFilter`]"""

    events: EventFilter = EventFilter()
    rooms: Selection = Selection()
    contains_url: bool | None = None
    members: LazyMembers = LazyMembers()
    threads: bool = False  # unread_thread_notifications
    related_by: RelatedBy = RelatedBy()

    def keeps(self, event: Event) -> bool:
        """Is the event wanted, as far as it can be told from itself?"""
        if not self.events.keeps(event.type, event.sender) or not self.rooms.keeps(event.room_id):
            return False
        return self.contains_url is None or self.contains_url == isinstance(event.content.get("url"), str)

    @property
    def limit(self) -> int | None:
        """How many events the client wants at most."""
        return self.events.limit

    @property
    def keeps_everything(self) -> bool:
        """Does it leave no event out?"""
        plain = self.events.keeps_everything and self.rooms.is_everything
        return plain and self.contains_url is None and self.related_by == RelatedBy()


@frozen
class RoomFilter:
    """[cs `RoomFilter`]"""

    rooms: Selection = Selection()
    account_data: RoomEventFilter = RoomEventFilter()
    ephemeral: RoomEventFilter = RoomEventFilter()
    state: RoomEventFilter = RoomEventFilter()
    timeline: RoomEventFilter = RoomEventFilter()
    include_leave: bool = False


@frozen
class SyncFilter:
    """What may be uploaded to /filter. No `event_fields`: all."""

    room: RoomFilter = RoomFilter()
    account_data: EventFilter = EventFilter()
    presence: EventFilter = EventFilter()
    event_fields: tuple[str, ...] | None = None
    federation_format: bool = False


def parse_sync_filter(definition: JSONObject) -> SyncFilter:
    """A whole filter. Raises M_BAD_JSON; unknown properties are a newer specification's."""
    event_format = _get(definition, "event_format", str)
    if event_format not in (None, "client", "federation"):
        raise bad_json("event_format must be client or federation")
    fields = _strings(definition, "event_fields")
    return SyncFilter(
        _room_filter(_get(definition, "room", dict) or {}),
        _event_filter(_get(definition, "account_data", dict) or {}),
        _event_filter(_get(definition, "presence", dict) or {}),
        None if fields is None else tuple(fields),
        event_format == "federation",
    )


def parse_room_event_filter(definition: JSONObject) -> RoomEventFilter:
    """The filter of one list of events, as /messages and /context take it. Raises M_BAD_JSON."""
    return RoomEventFilter(
        _event_filter(definition),
        _selection(definition, "rooms", "!"),
        _get(definition, "contains_url", bool),
        LazyMembers(
            _get(definition, "lazy_load_members", bool) or False,
            _get(definition, "include_redundant_members", bool) or False,
        ),
        _get(definition, "unread_thread_notifications", bool) or False,
        RelatedBy(
            _frozen(_strings(definition, "related_by_rel_types")),
            _frozen(_ids(definition, "related_by_senders", "@")),
        ),
    )


def _room_filter(definition: JSONObject) -> RoomFilter:
    def part(name: str) -> RoomEventFilter:
        return parse_room_event_filter(_get(definition, name, dict) or {})

    return RoomFilter(
        _selection(definition, "rooms", "!"),
        part("account_data"),
        part("ephemeral"),
        part("state"),
        part("timeline"),
        _get(definition, "include_leave", bool) or False,
    )


def _event_filter(definition: JSONObject) -> EventFilter:
    limit = _get(definition, "limit", int)
    if limit is not None and not 0 <= limit <= _MAX_INTEGER:
        raise bad_json("limit must not be negative")
    types, not_types = _strings(definition, "types"), _strings(definition, "not_types")
    return EventFilter(
        limit,
        _selection(definition, "senders", "@"),
        TypeSelection(
            None if types is None else _patterns(types), _patterns(not_types) if not_types else None
        ),
    )


def _selection(definition: JSONObject, name: str, sigil: str) -> Selection:
    only, never = _ids(definition, name, sigil), _ids(definition, f"not_{name}", sigil)
    return Selection(_frozen(only), _frozen(never) or frozenset())


def _ids(definition: JSONObject, name: str, sigil: str) -> list[str] | None:
    """Ids of users or rooms, as far as their first letter tells."""
    found = _strings(definition, name)
    if found is not None and not all(one.startswith(sigil) for one in found):
        raise bad_json(f"{name} must be a list of ids that begin with {sigil}")
    return found


def _patterns(types: Iterable[str]) -> Patterns:
    exact, globs = [], []
    for kind in dict.fromkeys(types):
        if "*" in kind:
            globs.append(glob(kind))
        else:
            exact.append(kind)
    return Patterns(frozenset(exact), tuple(globs))


def _frozen(names: list[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def _strings(values: JSONObject, name: str) -> list[str] | None:
    found: list[Any] | None = _get(values, name, list)
    if found is None:
        return None
    if len(found) > MAX_ENTRIES:
        raise bad_json(f"{name} is too long")
    if not all(isinstance(item, str) for item in found):
        raise bad_json(f"{name} must be a list of strings")
    if any("\x00" in item for item in found):
        raise bad_json(f"{name} cannot contain U+0000")  # which no id or type does, and storage cannot hold
    return found


def _get(values: JSONObject, name: str, kind: type[T]) -> T | None:
    """A property that may be absent or null; true is no integer."""
    value = values.get(name)
    if value is None:
        return None
    if type(value) is not kind:
        raise bad_json(f"{name} must be {_NAMES[kind]}")
    return value
