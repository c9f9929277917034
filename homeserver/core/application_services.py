"""Application services as values: who they are, what they care for, and what is theirs alone [as "Registration"].

Namespaces are regular expressions that an operator has accepted from others, matched against ids that anybody can
write: they are RE2's, linear in the id. As everywhere, an expression must match from the beginning of an id, but not up
to its end: `@_irc_` is a prefix.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from attrs import Factory, field, frozen

from homeserver.core.errors import MatrixError, forbidden, unknown_token
from homeserver.core.ids import domain_of

_PREFIX = 64  # bytes of an expression's beginning that are compared as text


@frozen
class Namespace:
    """Ids that begin as an expression says; `exclusive`: nobody else may make such ones."""

    regex: str
    exclusive: bool
    _compiled: Any = field(repr=False, eq=False)  # of RE2
    _whole: Any = field(repr=False, eq=False)  # the same with anything after it

    def matches(self, text: str) -> bool:
        """Does `text` belong to it?"""
        return self._compiled.match(text) is not None

    def span(self) -> tuple[str, str]:
        """Between which texts, by their bytes, all that match are: for a database to look at no others."""
        low, high = self._whole.possiblematchrange(_PREFIX)
        return low.rstrip(b"\0").decode("utf-8", "ignore"), _upper(high)


@frozen
class Namespaces:
    """What a service cares for."""

    users: Sequence[Namespace] = ()
    aliases: Sequence[Namespace] = ()
    rooms: Sequence[Namespace] = ()


@frozen
class Tokens:
    """By which the service is known to us, and we to it."""

    ours: str = field(repr=False)  # hs_token
    theirs: str = field(repr=False)  # as_token


class Proxied(StrEnum):
    """Questions about its users that a service answers itself; the names are those of registrations."""

    CLAIMS = "org.matrix.msc3983"
    QUERIES = "org.matrix.msc3984"

    @property
    def path(self) -> str:
        """Where it is asked, below /_matrix/app/unstable."""
        return f"{self}/keys/{'claim' if self is Proxied.CLAIMS else 'query'}"


@frozen(kw_only=True)
class Wants:
    """What a service is told beyond events, and how it is treated."""

    rate_limited: bool = True
    ephemeral: bool = False
    encryption: bool = False  # to-device messages, device lists and key counts [MSC2409] [MSC3202]
    old_names: bool = False  # it knows ephemeral data by the name of the proposal too
    protocols: Sequence[str] = ()
    proxied: frozenset[Proxied] = frozenset()


@frozen
class ApplicationService:
    """One registration. `url` is empty where nothing is to be pushed."""

    id: str
    url: str
    tokens: Tokens
    sender: str  # the user id of `sender_localpart`
    namespaces: Namespaces
    wants: Wants = Wants()

    def has_user(self, user_id: str) -> bool:
        """May the service act as this user? Only of users of this server is that true [as "Registration"]."""
        if user_id == self.sender:
            return True
        return domain_of(user_id) == domain_of(self.sender) and _any(self.namespaces.users, user_id)

    def has_alias(self, alias: str) -> bool:
        """Is the alias in its namespace?"""
        return _any(self.namespaces.aliases, alias)

    def has_room(self, room_id: str) -> bool:
        """Is the room in its namespace?"""
        return _any(self.namespaces.rooms, room_id)

    def claims_user(self, user_id: str) -> bool:
        """Is it alone to make this user?"""
        if user_id == self.sender:
            return True
        return domain_of(user_id) == domain_of(self.sender) and _any(
            _exclusive(self.namespaces.users), user_id
        )

    def claims_alias(self, alias: str) -> bool:
        """Is it alone to make this alias?"""
        return _any(_exclusive(self.namespaces.aliases), alias)


@frozen
class ApplicationServices:
    """All of a server."""

    all: Sequence[ApplicationService] = ()
    _by_token: Mapping[bytes, ApplicationService] = field(
        init=False,
        repr=False,
        default=Factory(lambda self: {_hash(one.tokens.theirs): one for one in self.all}, takes_self=True),
    )

    def of_token(self, token: str) -> ApplicationService | None:
        """Whose `as_token` that is."""
        return self._by_token.get(_hash(token)) if self._by_token else None

    def by_token(self, token: str | None) -> ApplicationService:
        """The same, of who must be one. Raises M_MISSING_TOKEN and M_UNKNOWN_TOKEN [as "Server admin style
        permissions"]."""
        if token is None:
            raise MatrixError(
                401, "M_MISSING_TOKEN", "Application services prove themselves by their as_token"
            )
        service = self.of_token(token)
        if service is None:
            raise unknown_token("This is no application service's as_token")
        return service

    def by_id(self, service_id: str | None) -> ApplicationService | None:
        """The service of that name."""
        return next((one for one in self.all if one.id == service_id), None)

    def check_user(self, user_id: str, by: str | None = None) -> None:
        """Raise M_EXCLUSIVE where `by` (a service's id; None: anybody) may not make this user."""
        service = self.by_id(by)
        if service is not None and not service.has_user(user_id):
            raise exclusive("The user is outside of the application service's namespaces")
        if any(one.id != by and one.claims_user(user_id) for one in self.all):
            raise exclusive("This user name belongs to an application service")

    def check_alias(self, alias: str, by: str | None = None) -> None:
        """Raise M_EXCLUSIVE where `by` may not make or remove this alias."""
        service = self.by_id(by)
        if service is not None and not service.has_alias(alias):
            raise exclusive("The alias is outside of the application service's namespaces")
        if any(one.id != by and one.claims_alias(alias) for one in self.all):
            raise exclusive("This alias belongs to an application service")

    def acted_for(self, service: ApplicationService, user_id: str) -> str:
        """The user that a service acts as. Raises M_FORBIDDEN [as "Identity assertion"]."""
        if not service.has_user(user_id):
            raise forbidden("The application service may not act as this user")
        return user_id

    def of_user(self, user_id: str) -> list[ApplicationService]:
        """Those that the user belongs to."""
        return [one for one in self.all if one.has_user(user_id)]

    def of_alias(self, alias: str) -> list[ApplicationService]:
        """Those that the alias belongs to."""
        return [one for one in self.all if one.has_alias(alias)]

    def proxy_of(self, user_id: str, what: Proxied) -> ApplicationService | None:
        """Who is asked this about a user: the service that the user belongs to alone, if it wants to be asked."""
        return next(
            (one for one in self.all if what in one.wants.proxied and one.url and one.claims_user(user_id)),
            None,
        )

    def of_protocol(self, protocol: str) -> list[ApplicationService]:
        """Those that know a third-party network."""
        return [one for one in self.all if protocol in one.wants.protocols]


NO_SERVICES = ApplicationServices()


def exclusive(message: str) -> MatrixError:
    """[as "Server admin style permissions"]"""
    return MatrixError(400, "M_EXCLUSIVE", message)


def _any(namespaces: Iterable[Namespace], text: str) -> bool:
    return any(one.matches(text) for one in namespaces)


def _exclusive(namespaces: Iterable[Namespace]) -> Iterable[Namespace]:
    return (one for one in namespaces if one.exclusive)


def _upper(high: bytes) -> str:
    """The least text of whole characters that is not below."""
    try:
        return high.decode()
    except UnicodeDecodeError as cause:
        return high[: cause.start].decode() + "\U0010ffff" * 4


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
