"""What all kinds of single sign-on have in common: a way there, and a person who comes back."""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, Protocol

from attrs import field, frozen

from homeserver.core.errors import MatrixError


@frozen(kw_only=True)
class Description:
    """What clients show of a provider [cs "m.login.sso flow schema"]."""

    id: str
    name: str
    icon: str = ""
    brand: str = ""

    def as_json(self) -> dict[str, str]:
        """An item of `identity_providers`."""
        told = {"id": self.id, "name": self.name, "icon": self.icon, "brand": self.brand}
        return {key: value for key, value in told.items() if value}


@frozen(kw_only=True)
class Trip:
    """A browser's way to a provider and back: to log a client in (`client`), or to prove something again (`session`).

    With a `visit`, whoever is proved is linked with the account of that visit of our pages. `state`, `nonce` and
    `verifier` tie what comes back to this browser and this trip.
    """

    provider: str
    client: str = ""
    session: str = field(default="", repr=False)
    visit: str = field(default="", repr=False)
    state: str = ""
    verifier: str = field(default="", repr=False)

    def leads_to(self, other: "Trip") -> bool:
        """Do both end at the same place?"""
        return (self.provider, self.client, self.session) == (other.provider, other.client, other.session)

    @property
    def nonce(self) -> str:
        """What an id token must repeat: seen by many, it tells nothing of the verifier."""
        return urlsafe_b64encode(hashlib.sha256(b"nonce of " + self.verifier.encode()).digest()).decode()


@frozen
class Person:
    """Who the provider says it is. `subject` never changes; `attributes` may."""

    subject: str
    attributes: Mapping[str, Any]

    def text(self, name: str) -> str | None:
        """An attribute, if it is one text (CAS lists even single ones)."""
        value = self.attributes.get(name)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        return value if isinstance(value, str) and value and "\0" not in value else None


class Provider(Protocol):
    """One that the operator has set up."""

    @property
    def about(self) -> Description:
        """How it is called."""

    def kept_as(self, trip: Trip) -> str:
        """The name under which the browser finds the trip when it comes back."""

    async def way(self, trip: Trip) -> str:
        """Where the browser is sent. Raises MatrixError."""

    async def person(self, trip: Trip, said: Mapping[str, str]) -> Person:
        """Who came back with these parameters. Raises MatrixError."""


def unusable(why: str = "The login service cannot be reached just now; try again") -> MatrixError:
    """The provider, not the person, is at fault."""
    return MatrixError(503, "M_UNKNOWN", why)
