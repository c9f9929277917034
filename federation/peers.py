"""Which servers this one speaks to at all: the operator's word, both ways."""

from collections.abc import Sequence

from attrs import field, frozen

from homeserver.core.globs import Glob, glob
from homeserver.core.ids import is_server_name


def _compiled(patterns: Sequence[str]) -> tuple[Glob, ...]:
    return tuple(glob(pattern, ignore_case=True) for pattern in patterns)


@frozen
class Peers:
    """`allowed` empty: all but the denied ones."""

    own_name: str
    enabled: bool = True
    allowed: tuple[Glob, ...] = field(default=(), converter=_compiled)
    denied: tuple[Glob, ...] = field(default=(), converter=_compiled)

    def refusal(self, server_name: str) -> str | None:
        """Why we neither ask this server nor answer it; None: we do."""
        if not self.enabled:
            return "federation is switched off here"
        if not is_server_name(server_name):
            return "not a server name"
        if server_name == self.own_name:
            return "that is this server itself"
        if any(pattern.matches(server_name) for pattern in self.denied):
            return "this server does not federate with it"
        if self.allowed and not any(pattern.matches(server_name) for pattern in self.allowed):
            return "this server federates with chosen servers only"
        return None
