"""What a client asks of sliding sync [MSC4186 "Request Body"], and how far its request obeys the rules.

Both forms of `required_state` and of windows are read on both paths: clients mix them.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from attrs import evolve, field, frozen

from homeserver.core.errors import bad_json, invalid_param
from homeserver.core.sliding_state import NO_STATE, Pattern, RequiredState, StateWish, digest_of, patterns

MAX_LISTS = 100
MAX_TIMELINE = 100  # events of a room in one answer
MAX_THREADS = 100  # changes of thread subscriptions in one answer
MAX_PATTERNS = 200  # of one `required_state`, and entries of any other list
MAX_CONN_ID = 255
MAX_NUMBER = 2**53 - 1

ME, LAZY, ANY = "$ME", "$LAZY", "*"

THREADS, THREADS_BEFORE = "thread_subscriptions", "io.element.msc4308.thread_subscriptions"

T = TypeVar("T", str, int, bool, dict[str, Any], list[Any])
_NAMES = {str: "a string", int: "an integer", bool: "a boolean", dict: "an object", list: "a list"}


@frozen
class RoomWish:
    """How much of a room is wanted."""

    limit: int = 0
    state: StateWish = NO_STATE

    def joined_with(self, other: "RoomWish") -> "RoomWish":
        """What either wants [MSC4186 "Combining room configs"]."""
        return RoomWish(max(self.limit, other.limit), self.state.joined_with(other.state))


@frozen
class Choice:
    """One of `only` (None: any), but none of `never`."""

    only: frozenset[str | None] | None = None
    never: frozenset[str | None] = frozenset()


@frozen
class Flags:
    """What rooms must be, or must not be; None: either."""

    dm: bool | None = None
    encrypted: bool | None = None
    invited: bool | None = None


@frozen
class RoomFilter:
    """Which rooms belong to a list [MSC4186 "SlidingRoomFilter"]. A type of None is a room without one."""

    flags: Flags = Flags()
    spaces: frozenset[str] | None = None
    types: Choice = Choice()
    tags: Choice = Choice()
    name_like: str | None = None


@frozen
class ListWish:
    """A list: its rooms are those that pass the filter, the wanted ones stand in `ranges` (None: all)."""

    room: RoomWish
    ranges: tuple[tuple[int, int], ...] | None
    filter: RoomFilter


@frozen
class Scope:
    """The rooms that an extension is for: those of these lists and subscriptions (None: of all)."""

    lists: frozenset[str] | None = None
    rooms: frozenset[str] | None = None

    @property
    def everywhere(self) -> bool:
        """Is no room left out?"""
        return self.lists is None and self.rooms is None


@frozen
class ToDeviceWish:
    """The inbox from a place on."""

    since: int | None
    limit: int


@frozen
class ThreadsWish:
    """Changes of thread subscriptions, so many at most, under the name that the client uses [MSC4308]."""

    name: str
    limit: int


@frozen
class ExtensionWishes:
    """The extensions that are switched on."""

    to_device: ToDeviceWish | None = None
    e2ee: bool = False
    account_data: Scope | None = None
    receipts: Scope | None = None
    typing: Scope | None = None
    threads: ThreadsWish | None = None


@frozen
class SlidingQuery:
    """A request but for its position and its patience."""

    conn_id: str
    lists: Mapping[str, ListWish]
    subscriptions: Mapping[str, RoomWish]
    extensions: ExtensionWishes = ExtensionWishes()
    unsubscribed: frozenset[str] = frozenset()
    counted: bool = False  # the client wants to be told what is unread
    digest: int = field(init=False, eq=False)

    @digest.default
    def _digest(self) -> int:
        """Two requests with the same digest want the same, but for the place in the inbox."""
        rooms = [(name, wish.limit, wish.state.digest) for name, wish in sorted(self.subscriptions.items())]
        lists = [
            (name, wish.room.limit, wish.room.state.digest, wish.ranges, _filter_text(wish.filter))
            for name, wish in sorted(self.lists.items())
        ]
        return digest_of((rooms, lists, _scopes_text(self.extensions)))

    def with_subscriptions(self, subscriptions: Mapping[str, RoomWish]) -> "SlidingQuery":
        """The same with other subscriptions."""
        return evolve(self, subscriptions=subscriptions)


def parse_sliding_query(body: Mapping[str, Any], user_id: str, *, max_subscriptions: int) -> SlidingQuery:
    """Read a body. Raises M_BAD_JSON, and M_INVALID_PARAM for what is too much."""
    conn_id = _get(body, "conn_id", str) or ""
    lists = _get(body, "lists", dict) or {}
    subscriptions = _get(body, "room_subscriptions", dict) or {}
    if len(conn_id) > MAX_CONN_ID:
        raise invalid_param("conn_id is too long")
    if len(lists) > MAX_LISTS:
        raise invalid_param(f"There may be {MAX_LISTS} lists at most")
    if len(subscriptions) > max_subscriptions:
        raise invalid_param(f"There may be {max_subscriptions} room subscriptions at most")
    return SlidingQuery(
        conn_id,
        {name: _list_wish(_object(value, f"lists.{name}"), user_id) for name, value in lists.items()},
        {
            _clean(name, "room_subscriptions"): room_wish(_object(value, name), user_id)
            for name, value in subscriptions.items()
        },
        _extensions(_get(body, "extensions", dict) or {}),
        frozenset(_strings(body, "unsubscribe_rooms") or ()),
    )


def room_wish(value: Mapping[str, Any], user_id: str) -> RoomWish:
    """How much of a room a list or a subscription wants."""
    limit = _get(value, "timeline_limit", int)
    required = value.get("required_state")
    if required is not None and not isinstance(required, (list, dict)):
        raise bad_json("required_state must be an object or a list")
    state = required_state(required or [], user_id)
    wish = NO_STATE if state == RequiredState() else StateWish(frozenset({state}))
    return RoomWish(_within(limit or 0, "timeline_limit", MAX_TIMELINE), wish)


def required_state(value: Mapping[str, Any] | list[Any], user_id: str) -> RequiredState:
    """Either form: an object, or the older list of pairs with its special words."""
    if isinstance(value, list):
        _bounded(value, "required_state")
        pairs = [_pair(item, user_id) for item in value]
        lazy = ("m.room.member", LAZY)
        return RequiredState(patterns(pair for pair in pairs if pair != lazy), lazy_members=lazy in pairs)
    include = [_element(item, user_id) for item in _get(value, "include", list) or []]
    exclude = [_element(item, user_id) for item in _get(value, "exclude", list) or []]
    _bounded(include, "include")
    _bounded(exclude, "exclude")
    lazy_members = _get(value, "lazy_members", bool) or ("m.room.member", LAZY) in include
    return RequiredState(patterns(include), patterns(exclude), lazy_members)


def _pair(item: Any, user_id: str) -> Pattern:
    if not isinstance(item, list) or len(item) != 2 or not all(isinstance(part, str) for part in item):
        raise bad_json("required_state must have pairs of a type and a state key")
    kind, key = (_clean(part, "required_state") for part in item)
    return None if kind == ANY else kind, None if key == ANY else user_id if key == ME else key


def _element(item: Any, user_id: str) -> Pattern:
    found = _object(item, "An element of required_state")
    key = _get(found, "state_key", str)
    # COMPAT(matrix-rust-sdk, until it stops sending the older form's word)
    return _get(found, "type", str), user_id if key == ME else key


def _list_wish(value: Mapping[str, Any], user_id: str) -> ListWish:
    return ListWish(
        room_wish(value, user_id), _ranges(value), _room_filter(_get(value, "filters", dict) or {})
    )


def _ranges(value: Mapping[str, Any]) -> tuple[tuple[int, int], ...] | None:
    """The window, also as the older list of windows."""
    if value.get("range") is not None:
        return (_range(value["range"]),)
    ranges = _get(value, "ranges", list)
    if ranges is None:
        return None
    _bounded(ranges, "ranges")
    return tuple(_range(item) for item in ranges)


def _range(item: Any) -> tuple[int, int]:
    if not isinstance(item, list) or len(item) != 2 or not all(type(place) is int for place in item):
        raise bad_json("A range must have two integers")
    start, end = item
    if not 0 <= start <= end <= MAX_NUMBER:
        raise invalid_param("A range must not be negative, nor end before it starts")
    return start, end


def _room_filter(value: Mapping[str, Any]) -> RoomFilter:
    invited = _get(value, "is_invited", bool)
    spaces = _strings(value, "spaces")
    return RoomFilter(
        Flags(
            _get(value, "is_dm", bool),
            _get(value, "is_encrypted", bool),
            _get(value, "is_invite", bool) if invited is None else invited,
        ),
        None if spaces is None else frozenset(spaces),
        _choice(value, "room_types", "not_room_types", empty=True),
        _choice(value, "tags", "not_tags"),
        _get(value, "room_name_like", str),
    )


def _choice(value: Mapping[str, Any], only: str, never: str, *, empty: bool = False) -> Choice:
    wanted = _strings(value, only, empty=empty)
    return Choice(
        None if wanted is None else frozenset(wanted),
        frozenset(_strings(value, never, empty=empty) or ()),
    )


def _extensions(value: Mapping[str, Any]) -> ExtensionWishes:
    to_device, e2ee = _switched(value, "to_device"), _switched(value, "e2ee")
    return ExtensionWishes(
        None if to_device is None else _to_device(to_device),
        e2ee is not None,
        _scope(_switched(value, "account_data")),
        _scope(_switched(value, "receipts")),
        _scope(_switched(value, "typing")),
        _threads(value),
    )


def _threads(value: Mapping[str, Any]) -> ThreadsWish | None:
    """COMPAT(clients until the proposal is accepted): the extension under its name of today."""
    for name in (THREADS, THREADS_BEFORE):
        wanted = _switched(value, name)
        if wanted is not None:
            limit = _get(wanted, "limit", int)
            return ThreadsWish(
                name, MAX_THREADS if limit is None else max(1, _within(limit, "limit", MAX_THREADS))
            )
    return None


def _switched(value: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    found = _get(value, name, dict)
    return found if found is not None and _get(found, "enabled", bool) else None


def _to_device(value: Mapping[str, Any]) -> ToDeviceWish:
    limit, since = _get(value, "limit", int), _get(value, "since", str)
    if since is not None and not (since.isascii() and since.isdigit() and len(since) <= 18):
        raise invalid_param("to_device.since is not a token of this server")
    return ToDeviceWish(
        None if since is None else int(since), max(1, _within(100 if limit is None else limit, "limit", 100))
    )


def _scope(value: Mapping[str, Any] | None) -> Scope | None:
    if value is None:
        return None
    lists, rooms = _strings(value, "lists"), _strings(value, "rooms")
    return Scope(
        None if lists is None or ANY in lists else frozenset(lists),
        None if rooms is None or ANY in rooms else frozenset(rooms),
    )


# --- values


def _get(value: Mapping[str, Any], name: str, kind: type[T]) -> T | None:
    found = value.get(name)
    if found is not None and type(found) is not kind:
        raise bad_json(f"{name} must be {_NAMES[kind]}")
    if isinstance(found, str):
        _clean(found, name)
    return found


def _clean(text: str, name: str) -> str:
    if "\x00" in text:
        raise bad_json(f"{name} must not contain the character U+0000")
    return text


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise bad_json(f"{name} must be an object")
    return value


def _strings(value: Mapping[str, Any], name: str, *, empty: bool = False) -> list[Any] | None:
    found = _get(value, name, list)
    if found is not None:
        _bounded(found, name)
        if not all(isinstance(item, str) or (empty and item is None) for item in found):
            raise bad_json(f"{name} must be a list of strings")
        for item in found:
            _clean(item or "", name)
    return found


def _bounded(found: list[Any], name: str) -> None:
    if len(found) > MAX_PATTERNS:
        raise invalid_param(f"{name} may have {MAX_PATTERNS} entries at most")


def _within(number: int, name: str, most: int) -> int:
    if not 0 <= number <= MAX_NUMBER:
        raise invalid_param(f"{name} must not be negative")
    return min(number, most)


def _filter_text(wanted: RoomFilter) -> object:
    flags, types, tags = wanted.flags, wanted.types, wanted.tags
    return (
        (flags.dm, flags.encrypted, flags.invited, wanted.name_like),
        None if wanted.spaces is None else sorted(wanted.spaces),
        [_names(types.only), _names(types.never), _names(tags.only), _names(tags.never)],
    )


def _scopes_text(wishes: ExtensionWishes) -> object:
    scopes = (wishes.account_data, wishes.receipts, wishes.typing)
    told = [None if scope is None else [_names(scope.lists), _names(scope.rooms)] for scope in scopes]
    return told, wishes.e2ee, wishes.to_device is not None, _limit_of(wishes.threads)


def _limit_of(wish: ThreadsWish | None) -> int | None:
    return None if wish is None else wish.limit


def _names(given: Iterable[str | None] | None) -> object:
    return None if given is None else sorted(given, key=lambda name: (name is not None, name or ""))
