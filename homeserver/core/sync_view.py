"""What of all that is new a client wants to see: a filter, as /sync applies it [cs "Filtering"]."""

from collections.abc import Callable
from typing import Any

from attrs import frozen

from homeserver.core.event import Event
from homeserver.core.filters import SyncFilter

KeepEvent = Callable[[Event], bool]
KeepType = Callable[[str, str], bool]  # (type, sender); the sender is empty where there is none
KeepRoom = Callable[[str], bool]

DEFAULT_LIMIT = 10
# What a public room begins with, and a word. It is told of all rooms at once: who wants more says so, or pages back.
FIRST_LIMIT = 6


@frozen(kw_only=True)
class Fields:
    """How events are shaped: only some of their fields, or as servers exchange them."""

    only: tuple[str, ...] | None = None
    federation: bool = False


@frozen(kw_only=True)
class RoomView:
    """Which rooms, and what of each. No function: everything."""

    limit: int | None = None  # how many events of a timeline; None: the client has no wish
    rooms: KeepRoom | None = None
    timeline: KeepEvent | None = None
    state: KeepEvent | None = None
    ephemeral: KeepType | None = None
    account_data: KeepType | None = None


@frozen(kw_only=True)
class View:
    """The wishes of one client."""

    room: RoomView = RoomView()
    lazy_members: bool = False
    redundant_members: bool = False
    include_leave: bool = False
    account_data: KeepType | None = None
    presence: KeepType | None = None
    fields: Fields | None = None
    threads: bool = False

    @property
    def plain(self) -> bool:
        """Are timelines told whole, so that they can be shared between users?"""
        return self.room.timeline is None and self.room.rooms is None and self.fields is None


EVERYTHING = View()


def view_of(wanted: SyncFilter) -> View:
    """The wishes that a filter states."""
    room = wanted.room
    timeline, members = room.timeline, (room.state.members, room.timeline.members)
    only = wanted.event_fields
    shaped = only is not None or wanted.federation_format
    return View(
        room=RoomView(
            limit=timeline.limit,
            rooms=None if room.rooms.is_everything else room.rooms.keeps,
            timeline=None if timeline.keeps_everything else timeline.keeps,
            state=None if room.state.keeps_everything else room.state.keeps,
            ephemeral=None if room.ephemeral.keeps_everything else room.ephemeral.events.keeps,
            account_data=None if room.account_data.keeps_everything else room.account_data.events.keeps,
        ),
        lazy_members=any(one.lazy for one in members),
        redundant_members=any(one.redundant for one in members),
        include_leave=room.include_leave,
        account_data=None if wanted.account_data.keeps_everything else wanted.account_data.keeps,
        presence=None if wanted.presence.keeps_everything else wanted.presence.keeps,
        fields=Fields(only=only, federation=wanted.federation_format) if shaped else None,
        threads=timeline.threads,
    )


def keeps_type(keep: KeepType | None, kind: str, sender: str = "") -> bool:
    """Is something of this type wanted?"""
    return keep is None or keep(kind, sender)


def project(value: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    """Only the named fields of an object; dots go deeper, a backslash escapes one [cs `event_fields`]."""
    kept: dict[str, Any] = {}
    for path in fields:
        _copy(value, kept, _split(path))
    return kept


def _split(path: str) -> list[str]:
    parts, escaped = [""], False
    for letter in path:
        if escaped or letter not in "\\.":
            parts[-1] += letter if letter in "\\." or not escaped else "\\" + letter
            escaped = False
        elif letter == ".":
            parts.append("")
        else:
            escaped = True
    return parts


def _copy(source: Any, target: dict[str, Any], path: list[str]) -> None:
    value = source
    for part in path:
        if not isinstance(value, dict) or part not in value:
            return
        value = value[part]
    for part in path[:-1]:
        target = target.setdefault(part, {})
    target[path[-1]] = value
