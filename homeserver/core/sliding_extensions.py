"""What a client asks of the extensions of sliding sync [MSC4186 "Extensions"]."""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from homeserver.core.errors import invalid_param
from homeserver.core.sliding_state import digest_of
from homeserver.core.sliding_values import get, names, strings, within

MAX_THREADS = 100  # changes of thread subscriptions in one answer
ANY = "*"

THREADS, THREADS_BEFORE = "thread_subscriptions", "io.element.msc4308.thread_subscriptions"
PROFILES, PROFILES_BEFORE = "profiles", "org.matrix.msc4262.profiles"


@frozen
class Scope:
    """The rooms that an extension is for: those of these lists and subscriptions (None: of all)."""

    lists: frozenset[str] | None = None
    rooms: frozenset[str] | None = None

    @property
    def everywhere(self) -> bool:
        """Is no room left out?"""
        return self.lists is None and self.rooms is None

    @property
    def text(self) -> object:
        """The same for the same scope."""
        return [names(self.lists), names(self.rooms)]


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
class ProfilesWish:
    """These fields (None: all) of the profiles of people, under the name that the client uses [MSC4262].

    All of them are told of people in the rooms of the scope, of others only what changes.
    """

    name: str
    scope: Scope
    fields: frozenset[str] | None

    def digest(self, *, lazily: bool) -> int:
        """Of a room told so; `lazily`: only those are told who are needed to show it."""
        return digest_of(("profiles", names(self.fields), lazily))


@frozen
class ExtensionWishes:
    """The extensions that are switched on."""

    to_device: ToDeviceWish | None = None
    e2ee: bool = False
    account_data: Scope | None = None
    receipts: Scope | None = None
    typing: Scope | None = None
    threads: ThreadsWish | None = None
    profiles: ProfilesWish | None = None

    @property
    def text(self) -> object:
        """Two wishes with the same text want the same, but for the place in the inbox."""
        scopes = (self.account_data, self.receipts, self.typing)
        told = [None if scope is None else scope.text for scope in scopes]
        limit = None if self.threads is None else self.threads.limit
        people = None if self.profiles is None else (self.profiles.scope.text, names(self.profiles.fields))
        return told, self.e2ee, self.to_device is not None, limit, people


def extension_wishes(value: Mapping[str, Any]) -> ExtensionWishes:
    """Read the `extensions` of a body."""
    to_device, e2ee = _switched(value, "to_device"), _switched(value, "e2ee")
    return ExtensionWishes(
        None if to_device is None else _to_device(to_device),
        e2ee is not None,
        _scope_of(value, "account_data"),
        _scope_of(value, "receipts"),
        _scope_of(value, "typing"),
        _threads(value),
        _profiles(value),
    )


def _threads(value: Mapping[str, Any]) -> ThreadsWish | None:
    """COMPAT(clients until the proposal is accepted): the extension under its name of today."""
    for name in (THREADS, THREADS_BEFORE):
        wanted = _switched(value, name)
        if wanted is not None:
            limit = get(wanted, "limit", int)
            return ThreadsWish(
                name, MAX_THREADS if limit is None else max(1, within(limit, "limit", MAX_THREADS))
            )
    return None


def _profiles(value: Mapping[str, Any]) -> ProfilesWish | None:
    """COMPAT(clients until the proposal is accepted): the extension under its name of today."""
    for name in (PROFILES, PROFILES_BEFORE):
        wanted = _switched(value, name)
        if wanted is not None:
            fields = strings(wanted, "fields")
            return ProfilesWish(name, _scope(wanted), None if fields is None else frozenset(fields))
    return None


def _switched(value: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    found = get(value, name, dict)
    return found if found is not None and get(found, "enabled", bool) else None


def _to_device(value: Mapping[str, Any]) -> ToDeviceWish:
    limit, since = get(value, "limit", int), get(value, "since", str)
    if since is not None and not (since.isascii() and since.isdigit() and len(since) <= 18):
        raise invalid_param("to_device.since is not a token of this server")
    return ToDeviceWish(
        None if since is None else int(since), max(1, within(100 if limit is None else limit, "limit", 100))
    )


def _scope_of(value: Mapping[str, Any], name: str) -> Scope | None:
    wanted = _switched(value, name)
    return None if wanted is None else _scope(wanted)


def _scope(wanted: Mapping[str, Any]) -> Scope:
    lists, rooms = strings(wanted, "lists"), strings(wanted, "rooms")
    return Scope(
        None if lists is None or ANY in lists else frozenset(lists),
        None if rooms is None or ANY in rooms else frozenset(rooms),
    )
