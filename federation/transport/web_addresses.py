"""Where an https URL leads that another server gave us: the same road out as for requests to servers."""

from ipaddress import ip_address

from attrs import frozen
from yarl import URL

from federation.protocol.discovery import MAX_TARGETS, Identity, Route, Target
from federation.transport.name_servers import NameServers

HTTPS = 443


class NoWebAddress(ValueError):
    """The URL cannot be asked; the message says why."""


@frozen
class WebAddress:
    """Where to connect to, and what to ask for there."""

    route: Route
    target: str


async def web_address(text: str, name_servers: NameServers, default_port: int = HTTPS) -> WebAddress:
    """Look the URL's host up. Raises NoWebAddress, LookupFailed."""
    try:
        url = URL(text)
        host, port = url.raw_host, url.explicit_port
    except ValueError as cause:
        raise NoWebAddress("not a URL") from cause
    if url.scheme != "https" or not host or url.user is not None:
        raise NoWebAddress("not an https URL")
    bracketed = f"[{host}]" if ":" in host else host
    identity = Identity(bracketed if port in (None, HTTPS) else f"{bracketed}:{port}", host)
    found = [host] if _is_address(host) else (await name_servers.addresses(host)).found
    if not found:
        raise NoWebAddress(f"{host} has no address")
    targets = tuple(Target(address, port or default_port) for address in found[:MAX_TARGETS])
    return WebAddress(Route(targets, identity), url.raw_path_qs)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
