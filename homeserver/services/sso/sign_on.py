"""All login services that the operator has set up."""

from collections.abc import Mapping

from attrs import field, frozen

from homeserver.core.errors import not_found
from homeserver.services.sso.accounts import SSO, Policy
from homeserver.services.sso.cas import Cas
from homeserver.services.sso.providers import Provider


@frozen
class SignOn:
    """The login services, in the operator's order, with what is wanted of each, and the clients that are known."""

    providers: Mapping[str, tuple[Provider, Policy]] = field(factory=dict)
    clients: tuple[str, ...] = ()

    def flows(self) -> list[dict[str, object]]:
        """For GET /login [cs "m.login.sso flow schema"]."""
        if not self.providers:
            return []
        told = [provider.about.as_json() for provider, _ in self.providers.values()]
        flows: list[dict[str, object]] = [{"type": SSO, "identity_providers": told}]
        if self.cas is not None:
            flows.append({"type": "m.login.cas"})  # until r0.3
        return flows

    @property
    def cas(self) -> str | None:
        """The first provider of this kind."""
        return next((name for name, (one, _) in self.providers.items() if isinstance(one, Cas)), None)

    @property
    def only(self) -> str:
        """The one that is taken where nobody has chosen."""
        return next(iter(self.providers))

    @property
    def names(self) -> dict[str, str]:
        """How they are called, by their ids."""
        return {name: one.about.name for name, (one, _) in self.providers.items()}

    def find(self, name: str) -> tuple[Provider, Policy]:
        """One of them. Raises M_NOT_FOUND."""
        found = self.providers.get(name)
        if found is None:
            raise not_found("There is no login service of this name")
        return found
