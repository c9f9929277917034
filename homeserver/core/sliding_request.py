"""What a client asks of sliding sync [MSC4186 "Request Body"], and how far its request obeys the rules.

Both forms of `required_state` and of windows are read on both paths: clients mix them.
"""

from collections.abc import Mapping
from typing import Any

from attrs import evolve, field, frozen

from homeserver.core.errors import bad_json, invalid_param
from homeserver.core.sliding_extensions import ExtensionWishes, extension_wishes
from homeserver.core.sliding_state import NO_STATE, Pattern, RequiredState, StateWish, digest_of, patterns
from homeserver.core.sliding_values import MAX_NUMBER, as_object, bounded, clean, get, names, strings, within

MAX_LISTS = 100
MAX_TIMELINE = 100  # events of a room in one answer
MAX_CONN_ID = 255

ME, LAZY, ANY = "$ME", "$LAZY", "*"


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
class SlidingQuery:
    """A request but for its position and its patience."""

    conn_id: str
    lists: Mapping[str, ListWish]
    subscriptions: Mapping[str, RoomWish]
    extensions: ExtensionWishes = field(factory=ExtensionWishes)
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
        return digest_of((rooms, lists, self.extensions.text))

    def with_subscriptions(self, subscriptions: Mapping[str, RoomWish]) -> "SlidingQuery":
        """The same with other subscriptions."""
        return evolve(self, subscriptions=subscriptions)


def parse_sliding_query(body: Mapping[str, Any], user_id: str, *, max_subscriptions: int) -> SlidingQuery:
    """Read a body. Raises M_BAD_JSON, and M_INVALID_PARAM for what is too much."""
    conn_id = get(body, "conn_id", str) or ""
    lists = get(body, "lists", dict) or {}
    subscriptions = get(body, "room_subscriptions", dict) or {}
    if len(conn_id) > MAX_CONN_ID:
        raise invalid_param("conn_id is too long")
    if len(lists) > MAX_LISTS:
        raise invalid_param(f"There may be {MAX_LISTS} lists at most")
    if len(subscriptions) > max_subscriptions:
        raise invalid_param(f"There may be {max_subscriptions} room subscriptions at most")
    return SlidingQuery(
        conn_id,
        {name: _list_wish(as_object(value, f"lists.{name}"), user_id) for name, value in lists.items()},
        {
            clean(name, "room_subscriptions"): room_wish(as_object(value, name), user_id)
            for name, value in subscriptions.items()
        },
        extension_wishes(get(body, "extensions", dict) or {}),
        frozenset(strings(body, "unsubscribe_rooms") or ()),
    )


def room_wish(value: Mapping[str, Any], user_id: str) -> RoomWish:
    """How much of a room a list or a subscription wants."""
    limit = get(value, "timeline_limit", int)
    required = value.get("required_state")
    if required is not None and not isinstance(required, (list, dict)):
        raise bad_json("required_state must be an object or a list")
    state = required_state(required or [], user_id)
    wish = NO_STATE if state == RequiredState() else StateWish(frozenset({state}))
    return RoomWish(within(limit or 0, "timeline_limit", MAX_TIMELINE), wish)


def required_state(value: Mapping[str, Any] | list[Any], user_id: str) -> RequiredState:
    """Either form: an object, or the older list of pairs with its special words."""
    if isinstance(value, list):
        bounded(value, "required_state")
        pairs = [_pair(item, user_id) for item in value]
        lazy = ("m.room.member", LAZY)
        return RequiredState(patterns(pair for pair in pairs if pair != lazy), lazy_members=lazy in pairs)
    include = [_element(item, user_id) for item in get(value, "include", list) or []]
    exclude = [_element(item, user_id) for item in get(value, "exclude", list) or []]
    bounded(include, "include")
    bounded(exclude, "exclude")
    lazy_members = get(value, "lazy_members", bool) or ("m.room.member", LAZY) in include
    return RequiredState(patterns(include), patterns(exclude), lazy_members)


def _pair(item: Any, user_id: str) -> Pattern:
    if not isinstance(item, list) or len(item) != 2 or not all(isinstance(part, str) for part in item):
        raise bad_json("required_state must have pairs of a type and a state key")
    kind, key = (clean(part, "required_state") for part in item)
    return None if kind == ANY else kind, None if key == ANY else user_id if key == ME else key


def _element(item: Any, user_id: str) -> Pattern:
    found = as_object(item, "An element of required_state")
    key = get(found, "state_key", str)
    # COMPAT(matrix-rust-sdk, until it stops sending the older form's word)
    return get(found, "type", str), user_id if key == ME else key


def _list_wish(value: Mapping[str, Any], user_id: str) -> ListWish:
    return ListWish(
        room_wish(value, user_id), _ranges(value), _room_filter(get(value, "filters", dict) or {})
    )


def _ranges(value: Mapping[str, Any]) -> tuple[tuple[int, int], ...] | None:
    """The window, also as the older list of windows."""
    if value.get("range") is not None:
        return (_range(value["range"]),)
    ranges = get(value, "ranges", list)
    if ranges is None:
        return None
    bounded(ranges, "ranges")
    return tuple(_range(item) for item in ranges)


def _range(item: Any) -> tuple[int, int]:
    if not isinstance(item, list) or len(item) != 2 or not all(type(place) is int for place in item):
        raise bad_json("A range must have two integers")
    start, end = item
    if not 0 <= start <= end <= MAX_NUMBER:
        raise invalid_param("A range must not be negative, nor end before it starts")
    return start, end


def _room_filter(value: Mapping[str, Any]) -> RoomFilter:
    invited = get(value, "is_invited", bool)
    spaces = strings(value, "spaces")
    return RoomFilter(
        Flags(
            get(value, "is_dm", bool),
            get(value, "is_encrypted", bool),
            get(value, "is_invite", bool) if invited is None else invited,
        ),
        None if spaces is None else frozenset(spaces),
        _choice(value, "room_types", "not_room_types", empty=True),
        _choice(value, "tags", "not_tags"),
        get(value, "room_name_like", str),
    )


def _choice(value: Mapping[str, Any], only: str, never: str, *, empty: bool = False) -> Choice:
    wanted = strings(value, only, empty=empty)
    return Choice(
        None if wanted is None else frozenset(wanted),
        frozenset(strings(value, never, empty=empty) or ()),
    )


def _filter_text(wanted: RoomFilter) -> object:
    flags, types, tags = wanted.flags, wanted.types, wanted.tags
    return (
        (flags.dm, flags.encrypted, flags.invited, wanted.name_like),
        None if wanted.spaces is None else sorted(wanted.spaces),
        [names(types.only), names(types.never), names(tags.only), names(tags.never)],
    )
