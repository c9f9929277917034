"""Who this server is: its name and the key it signs with."""

from attrs import frozen

from homeserver.core.event_build import Signer
from homeserver.core.ids import domain_of


@frozen
class Identity:
    """The server's name and current signing key."""

    signer: Signer

    @property
    def server_name(self) -> str:
        """The name that stands behind the colon of our users' ids."""
        return self.signer.server_name

    def is_ours(self, identifier: str) -> bool:
        """Does the id (of a user, an alias, an old room) belong to this server?"""
        return domain_of(identifier) == self.server_name
