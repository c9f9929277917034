"""Where the server listens, and the certificate it shows there."""

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import structlog
from attrs import define, field, frozen

from homeserver.app.config import Config
from homeserver.app.key_files import UnusableKeyFile
from homeserver.web.serve import Web

log = structlog.get_logger(__name__)

_LOOK_AFTER = 60.0  # seconds


@frozen
class Listener:
    """An address. `public`: others reach it directly, so nothing for the operator is served there."""

    address: str
    tls: ssl.SSLContext | None = None
    public: bool = False

    async def open(self, web: Web) -> int:
        """Serve here; gives the port. Raises OSError where the address cannot be had."""
        host, _, port = self.address.rpartition(":")
        return await web.listen(host.strip("[]"), int(port), tls=self.tls, public=self.public)


@define(eq=False)
class Certificate:
    """The files of a certificate. A renewed one is taken up while we serve."""

    certificate: Path
    key: Path
    context: ssl.SSLContext = field(
        init=False, factory=lambda: ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    )
    _loaded: tuple[float, ...] = field(init=False, default=())

    def load(self) -> None:
        """Read the files. Raises UnusableKeyFile."""
        try:
            loaded = self._changed_at()
            self.context.load_cert_chain(self.certificate, self.key)
        except OSError as cause:  # ssl.SSLError is one
            raise UnusableKeyFile(
                f"{self.certificate} and {self.key} are not a certificate and its key: {cause}"
            ) from cause
        self._loaded = loaded

    async def run(self) -> None:
        """Read the files again when they change, until cancelled. A faulty renewal leaves what is in use."""
        while True:
            await asyncio.sleep(_LOOK_AFTER)
            self.reload()

    def reload(self) -> None:
        """Read the files again if they have changed."""
        try:
            if self._changed_at() != self._loaded:
                self.load()
                log.info("the certificate was read again", certificate=str(self.certificate))
        except (UnusableKeyFile, OSError) as cause:
            log.warning("the renewed certificate cannot be used", cause=str(cause))

    def _changed_at(self) -> tuple[float, ...]:
        return tuple(path.stat().st_mtime for path in (self.certificate, self.key))


def certificate(config: Config) -> Certificate | None:
    """The certificate of the listener for other servers, if it has one of its own."""
    options = config.federation
    if not (options.listen and options.tls_certificate):
        return None
    folder = config.server.folder
    made = Certificate(
        folder / options.tls_certificate, folder / (options.tls_key or options.tls_certificate)
    )
    made.load()
    return made


def listeners(config: Config, shown: Certificate | None) -> Iterator[Listener]:
    """The addresses of the configuration; clients' first."""
    yield Listener(config.server.listen)
    if config.federation.enabled and config.federation.listen:
        yield Listener(config.federation.listen, None if shown is None else shown.context, public=True)
