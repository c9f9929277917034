"""DNS: the hosts of a service, the addresses of a host, within a limited time.

"There is none" is an answer. Anything else that is not the records is LookupFailed, which ends an attempt: to go on
would lead to a host that is not meant. This machine's own names (/etc/hosts, localhost) need no name server.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import dns.asyncresolver
import dns.exception
import dns.resolver
from attrs import define, field, frozen

from federation.protocol.srv import ServiceRecord

LIFETIME = 5.0  # seconds for one question: all name servers and repetitions together
_HOSTS = Path("/etc/hosts")
_LOCALHOST = ("127.0.0.1", "::1")  # whatever DNS says [RFC 6761 section 6.3]
_UNTOLD_TTL = 300  # of an answer without records
_NO_RECORDS = (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer)


class LookupFailed(Exception):
    """The name servers did not say what is so."""


@frozen
class Services:
    """SRV records, and for how many seconds to believe them."""

    records: Sequence[ServiceRecord]
    ttl: float


@frozen
class Addresses:
    """Addresses as texts, and for how many seconds to believe them."""

    found: Sequence[str]
    ttl: float


class NameServers(Protocol):
    """What discovery asks."""

    async def services(self, name: str) -> Services: ...

    async def addresses(self, host: str) -> Addresses: ...


@define(eq=False)
class SystemNameServers:
    """The name servers of this machine, or those given as addresses with ports."""

    servers: Sequence[tuple[str, int]] = ()
    hosts: Mapping[str, Sequence[str]] = field(factory=lambda: read_hosts(_HOSTS))
    _resolver: Any = field(init=False, default=None)

    async def services(self, name: str) -> Services:
        """The SRV records of a name."""
        answer = await self._ask(name, "SRV")
        if answer is None:
            return Services((), _UNTOLD_TTL)
        records = [
            ServiceRecord(one.priority, one.weight, one.port, one.target.to_text()) for one in answer.rrset
        ]
        return Services(records, answer.rrset.ttl)

    async def addresses(self, host: str) -> Addresses:
        """AAAA and A records behind any CNAMEs, and what the file of hosts says before them."""
        name = host.removesuffix(".").lower()
        if name == "localhost" or name.endswith(".localhost"):
            return Addresses(_LOCALHOST, _UNTOLD_TTL)
        if name in self.hosts:
            return Addresses(self.hosts[name], _UNTOLD_TTL)
        answers = await asyncio.gather(self._ask(name, "AAAA"), self._ask(name, "A"), return_exceptions=True)
        good = [one for one in answers if not isinstance(one, BaseException) and one is not None]
        faults = [one for one in answers if isinstance(one, BaseException)]
        if faults and not good:
            raise faults[0]
        found = [record.address for answer in good for record in answer.rrset]
        return Addresses(found, min((answer.rrset.ttl for answer in good), default=_UNTOLD_TTL))

    async def _ask(self, name: str, kind: str) -> Any:
        """The answer, or None where there is no such record."""
        try:
            return await self._configured().resolve(f"{name}.", kind, lifetime=LIFETIME, search=False)
        except _NO_RECORDS:
            return None
        except (dns.exception.DNSException, OSError) as cause:
            raise LookupFailed(f"DNS does not tell {kind} of {name}: {type(cause).__name__}") from cause

    def _configured(self) -> Any:
        if self._resolver is None:
            made = dns.asyncresolver.Resolver(configure=not self.servers)
            if self.servers:
                made.nameservers = [host for host, _ in self.servers]
                made.nameserver_ports = dict(self.servers)
            made.cache = None  # ours is by server name, and bounded
            self._resolver = made
        return self._resolver


def read_hosts(path: Path) -> dict[str, list[str]]:
    """Names and addresses of a file of hosts; none where it cannot be read."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    found: dict[str, list[str]] = {}
    for line in lines:
        address, *names = line.partition("#")[0].split() or [""]
        for name in names:
            found.setdefault(name.lower(), []).append(address)
    return found
