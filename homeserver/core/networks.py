"""Which addresses may be connected to: the public ones, and the networks that the operator allows.

Names of other servers, and where they lead, are chosen by others. So this is asked for the very address a socket is
opened to, after every look-up and redirect, whatever the names were.
"""

from collections.abc import Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from attrs import field, frozen

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NAT64 = IPv6Network("64:ff9b::/96")  # [RFC 6052]


def _networks(texts: Sequence[str]) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


@frozen
class Networks:
    """`allowed` are networks that are not public, as in 10.0.0.0/8."""

    allowed: tuple[Network, ...] = field(default=(), converter=_networks)

    def admit(self, text: str) -> bool:
        """May a connection go to this address?"""
        try:
            address = ip_address(text)
        except ValueError:
            return False
        meant = _meant(address)
        if any(one in network for network in self.allowed for one in (address, meant)):
            return True
        return meant.is_global and not meant.is_multicast and not meant.is_reserved


def _meant(address: Address) -> Address:
    """The IPv4 address inside of an IPv6 one, where there is one; else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address
