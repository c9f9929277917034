"""From a server name to the addresses to connect to [ss "Resolving server names"].

A machine that asks for look-ups and is fed their answers; it never looks anything up. `begin` gives the first step.
Each step is a question, whose `answered` gives the next one, or an end: a `Route`, or `Unreachable`.

    step = begin("example.org")                     # AskWellKnown("example.org")
    step = step.answered(None)                      # AskService("_matrix-fed._tcp.example.org")
    step = step.answered([], draw)                  # AskService("_matrix._tcp.example.org")
    step = step.answered([], draw)                  # AskAddresses of example.org, port 8448
    step = step.answered({"example.org": ["192.0.2.1"]})  # Route

"Not found" is an answer. A look-up that fails for the moment (no answer of a name server) is none: whoever drives the
machine gives up then, for the next step would lead to a host that is not meant.
"""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from attrs import frozen

from federation.protocol.srv import Draw, ServiceRecord, in_order
from homeserver.core.ids import is_server_name

DEFAULT_PORT = 8448
MAX_TARGETS = 16  # of a service, and addresses of a route: more is no help

_SERVICES = ("_matrix-fed._tcp", "_matrix._tcp")  # since 1.8; deprecated


@frozen
class Target:
    """A host, name or address, and a port."""

    host: str
    port: int


@frozen
class Identity:
    """Whom we speak to: the `Host` header, and the name that the certificate must be valid for.

    Where `tls_name` is an address, no SNI is sent [ss "TLS"].
    """

    host_header: str
    tls_name: str

    @property
    def sends_sni(self) -> bool:
        return _address(self.tls_name) is None


@frozen
class Route:
    """The end: addresses with ports, to be tried in this order."""

    targets: tuple[Target, ...]
    identity: Identity


@frozen
class Unreachable:
    """The other end: the name leads nowhere, for the reason."""

    reason: str


@frozen
class AskAddresses:
    """Which addresses do these hosts have (CNAME, AAAA, A)?"""

    targets: tuple[Target, ...]
    identity: Identity

    def answered(self, found: Mapping[str, Sequence[str]]) -> "Step":
        """`found` has the addresses of each host; a host without any may be missing."""
        reached = tuple(
            Target(address, target.port) for target in self.targets for address in found.get(target.host, ())
        )
        if not reached:
            return Unreachable("no address was found")
        return Route(reached[:MAX_TARGETS], self.identity)


@frozen
class AskService:
    """Which SRV records has this name?"""

    hostname: str
    attempt: int = 0

    @property
    def name(self) -> str:
        return f"{_SERVICES[self.attempt]}.{self.hostname}"

    def answered(self, records: Sequence[ServiceRecord], draw: Draw) -> "Step":
        """Steps 3.3 to 3.5, with a delegated name, and 4 to 6, with the first one."""
        identity = Identity(self.hostname, self.hostname)
        if records:
            return _of_service(records, identity, draw)
        if self.attempt + 1 < len(_SERVICES):
            return AskService(self.hostname, self.attempt + 1)
        return AskAddresses((Target(self.hostname, DEFAULT_PORT),), identity)


@frozen
class AskWellKnown:
    """What does https://<hostname>/.well-known/matrix/server delegate to?"""

    hostname: str

    def answered(self, delegated: str | None) -> "Step":
        """Step 3: a server name, or None where the answer was an error or no good [ss "Server discovery"]."""
        parts = split(delegated) if delegated is not None else None
        if delegated is None or parts is None:
            return AskService(self.hostname)  # "if the response is invalid, skip to step 4"
        return _direct(delegated, *parts) or AskService(parts[0])  # 3.1 and 3.2, or 3.3


Step = AskWellKnown | AskService | AskAddresses | Route | Unreachable


def begin(server_name: str) -> Step:
    """The first step for a server name."""
    parts = split(server_name)
    if parts is None:
        return Unreachable("not a server name")
    return _direct(server_name, *parts) or AskWellKnown(parts[0])


def split(server_name: str) -> tuple[str, int | None] | None:
    """Hostname, addresses of version 6 without their brackets, and port; None if no host can have the name."""
    if not is_server_name(server_name):
        return None
    host, colon, port_text = server_name.rpartition(":")
    if not colon or server_name.endswith("]"):
        host, port_text = server_name, ""
    port = int(port_text) if port_text else None
    if port is not None and not 0 < port < 65536:
        return None
    return (inner, port) if (inner := _checked_host(host)) else None


def _checked_host(host: str) -> str | None:
    """The host as it is looked up or connected to; None if it is malformed."""
    if host.startswith("["):
        return host[1:-1] if isinstance(_address(host[1:-1]), IPv6Address) else None
    labels = host.removesuffix(".").split(".")
    if any(not 0 < len(label) <= 63 for label in labels):
        return None
    if labels[-1].isdecimal() and _address(host) is None:
        return None  # four numbers that are no address are no DNS name either
    return host


def _direct(server_name: str, host: str, port: int | None) -> Step | None:
    """Steps 1 and 2, or 3.1 and 3.2: an address, or a name with a port; None for a name alone."""
    identity = Identity(server_name, host)
    if _address(host) is not None:
        return Route((Target(host, port or DEFAULT_PORT),), identity)
    if port is not None:
        return AskAddresses((Target(host, port),), identity)
    return None


def _of_service(records: Sequence[ServiceRecord], identity: Identity, draw: Draw) -> Step:
    offered = [record for record in records if record.target not in ("", ".") and record.port]
    if not offered:
        return Unreachable("the domain offers no such service")  # [RFC 2782 "Target"]
    offered.sort(key=lambda record: record.priority)
    ordered = in_order(offered[:MAX_TARGETS], draw)
    return AskAddresses(tuple(Target(one.target.removesuffix("."), one.port) for one in ordered), identity)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
