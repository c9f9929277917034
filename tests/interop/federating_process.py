"""The installed server as a process that federates over loopback."""

import json
from pathlib import Path

from attrs import define, field

from tests.interop.server_process import CONFIG, ServerProcess
from tests.kit.loopback import NETWORK, Authority, free_name, free_port


@define(eq=False)
class FederatingProcess(ServerProcess):
    """`homeserver run` with a server name of its own at which other servers reach it."""

    authority: Authority = field(kw_only=True)
    database_url: str = field(kw_only=True)
    name: str = field(factory=free_name, kw_only=True)
    port: int = field(factory=lambda: free_port("127.0.0.1"), kw_only=True)

    def config(self) -> str:
        certificate, key = self.authority.files(self.name)
        federation = {
            "listen": self.name,
            "tls_certificate": str(certificate),
            "tls_key": str(key),
            "certificate_authorities": str(self.authority.path),
            "allowed_networks": [NETWORK],
        }
        lines = [f"{option} = {json.dumps(value)}" for option, value in federation.items()]
        return "\n".join([CONFIG, "[federation]", *lines, ""])

    def arguments(self) -> list[str]:
        where = ["--server-name", self.name, "--listen", f"127.0.0.1:{self.port}"]
        return [*where, "--database-url", self.database_url]


def process_folder(parent: Path, name: str) -> Path:
    """A private folder for one server."""
    folder = parent / name.replace(":", "_")
    folder.mkdir(mode=0o700)
    return folder
