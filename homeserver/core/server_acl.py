"""May a server take part in a room? The room's access control list [cs "m.room.server_acl"]."""

import ipaddress
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from homeserver.core.globs import Glob, glob


@frozen
class ServerACL:
    """The parsed list. Server names are compared without their port and, as host names are, without case."""

    allow_ip_literals: bool
    allow: tuple[Glob, ...]
    deny: tuple[Glob, ...]

    def allows(self, server_name: str) -> bool:
        """The steps in the order of [cs "m.room.server_acl"]; a room without the event allows everybody."""
        host = _host(server_name)
        if not self.allow_ip_literals and _is_ip_literal(host):
            return False  # step 2
        if any(pattern.matches(host) for pattern in self.deny):
            return False  # step 3
        return any(pattern.matches(host) for pattern in self.allow)  # steps 4 and 5


def server_acl(content: Mapping[str, Any]) -> ServerACL:
    """The list that an event's content holds; what is malformed in it counts as absent."""
    literals = content.get("allow_ip_literals")
    return ServerACL(
        allow_ip_literals=literals if isinstance(literals, bool) else True,
        allow=_patterns(content.get("allow")),
        deny=_patterns(content.get("deny")),
    )


def _patterns(listed: Any) -> tuple[Glob, ...]:
    if not isinstance(listed, list):
        return ()
    return tuple(glob(entry, ignore_case=True) for entry in listed if isinstance(entry, str))


def _host(server_name: str) -> str:
    """The server name without port; an IPv6 literal keeps its brackets [appendices "Server Name"]."""
    if server_name.startswith("["):
        return server_name.partition("]")[0] + "]"
    return server_name.partition(":")[0]


def _is_ip_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
