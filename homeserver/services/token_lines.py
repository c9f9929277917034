"""Refresh tokens that tell whose successors they are: one that comes too late can be known without being kept.

All tokens of one session share a secret, its *line*, and count their generation. Who holds one has had one of them,
and all that can be done with it when it is no good any more is to end the session.
"""

import secrets
from base64 import urlsafe_b64encode

from attrs import evolve, field, frozen

from homeserver.services.secret_texts import hash_token, new_token

_KIND = "homr"
_MAX_DIGITS = 18


@frozen
class Place:
    """Where in its line a token stands."""

    secret: str = field(repr=False)
    generation: int = 0

    @property
    def row(self) -> tuple[bytes, int]:
        """What is stored of it."""
        return hash_token(self.secret), self.generation

    @property
    def next(self) -> "Place":
        """Where its successor stands."""
        return evolve(self, generation=self.generation + 1)

    def new_token(self) -> str:
        """A token of this place."""
        return f"{new_token(_KIND)}.{self.generation}.{self.secret}"


def line_begun() -> Place:
    """The first place of a new line."""
    return Place(urlsafe_b64encode(secrets.token_bytes(18)).decode())


def place_of(token: str) -> Place | None:
    """The place that a token names, if it does; whether there is such a line is in the database."""
    kind, *named = token.split(".")
    if not kind.startswith(f"{_KIND}_") or len(named) != 2:
        return None
    generation, secret = named
    plain = generation.isascii() and generation.isdecimal() and len(generation) <= _MAX_DIGITS
    return Place(secret, int(generation)) if plain else None
