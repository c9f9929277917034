"""Server names on this machine: addresses of 127.0.0.0/8 that nobody else uses, and certificates for them."""

import itertools
import os
import socket
import ssl
from pathlib import Path

import trustme
from attrs import define, field

NETWORK = "127.0.0.0/8"
_FIRST_PORT, _PORTS = 18_448, 14_000  # below those that the system gives to connections
_hosts = itertools.count(1)
_ports = itertools.count(os.getpid() * 131)


def free_port(host: str) -> int:
    """A port that nobody listens on, and that no connection of somebody else will get by chance."""
    while True:
        port = _FIRST_PORT + next(_ports) % _PORTS
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
        return port


def free_name() -> str:
    """A server name whose host is like no other in this process: access control lists do not see ports."""
    number = next(_hosts) % 60_000
    host = f"127.0.{1 + number // 250}.{1 + number % 250}"
    return f"{host}:{free_port(host)}"


@define(eq=False)
class Authority:
    """Gives out certificates; who trusts `path` trusts them."""

    folder: Path
    ca: trustme.CA = field(factory=trustme.CA, init=False)

    def __attrs_post_init__(self) -> None:
        self.ca.cert_pem.write_to_path(self.path)

    @property
    def path(self) -> Path:
        return self.folder / "ca.pem"

    def server_context(self, name: str) -> ssl.SSLContext:
        """TLS for who answers at `name`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(_host(name)).configure_cert(context)
        return context

    def client_context(self) -> ssl.SSLContext:
        """TLS for who asks."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        return context

    def files(self, name: str) -> tuple[Path, Path]:
        """Certificate and key for `name`, as an operator has them."""
        certificate, key = self.folder / f"{_host(name)}.pem", self.folder / f"{_host(name)}.key"
        issued = self.ca.issue_cert(_host(name))
        key.write_bytes(issued.private_key_pem.bytes())
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return certificate, key


def _host(name: str) -> str:
    return name.rpartition(":")[0].strip("[]")
