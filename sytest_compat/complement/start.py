"""What a container of Complement's runs: `python -m sytest_compat.complement.start`.

Complement says by SERVER_NAME who we are, and lays its certificate authority into /complement/ca: we sign our own
certificate with it, and trust the others'. Clients come to port 8008, servers to 8448. The database lies in the
container's own layer, since Complement saves containers as images and starts them again.

`--prepare` only makes the database, so that the image has it already and a container starts quickly.
"""

import asyncio
import os
import subprocess
from pathlib import Path

import click

from homeserver.app.database_setup import prepare_database
from homeserver.app.embedded_postgres import SETTINGS, EmbeddedPostgres
from homeserver.app.main import main as homeserver
from sytest_compat.settings import Sections, for_tests, write_settings

SHARED_SECRET = "complement"  # fixed in Complement
PRIVATE_NETWORKS = ["10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "::1/128"]


def configuration(name: str, data: Path, *, ca: Path, client: str, server: str) -> Sections:
    """Sections and options for a server of this name."""
    special: Sections = {
        "server": {
            "name": name,
            "listen": client,
            "public_baseurl": f"http://{name}:8008",
            "data": str(data),
        },
        "federation": {
            "listen": server,
            "tls_certificate": "tls.crt",
            "tls_key": "tls.key",
            "certificate_authorities": str(ca / "ca.crt"),
            "allowed_networks": PRIVATE_NETWORKS,
            "first_retry": 0.1,  # servers are stopped and started again in the middle of tests
            "longest_retry": 2.0,
        },
    }
    return for_tests(special)


def make_certificate(name: str, data: Path, ca: Path) -> None:
    """A key, and a certificate for our name that Complement's authority has signed."""
    key, request, extensions = data / "tls.key", data / "tls.csr", data / "tls.ext"
    extensions.write_text(f"subjectAltName=DNS:{name}\n")
    _openssl(
        "req",
        "-new",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        f"/CN={name}",
        "-keyout",
        key,
        "-out",
        request,
    )
    signer = ("-CA", ca / "ca.crt", "-CAkey", ca / "ca.key", "-set_serial", "1", "-days", "30")
    _openssl("x509", "-req", "-in", request, *signer, "-extfile", extensions, "-out", data / "tls.crt")


def _openssl(*arguments: str | Path) -> None:
    try:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True)  # noqa: S603, S607 (of the image)
    except subprocess.CalledProcessError as fault:
        raise click.ClickException(f"openssl: {fault.stderr.strip()}") from fault


def prepare(data: Path) -> None:
    """Make the database with its tables, and stop it again."""
    with EmbeddedPostgres(data, report=click.echo, settings=SETTINGS) as postgres:
        asyncio.run(prepare_database(postgres.url, click.echo))


@click.command()
@click.option("--prepare", "only_prepare", is_flag=True, help="Make the database and end.")
@click.option("--data", type=click.Path(path_type=Path), default=Path("/data"))
@click.option("--ca", type=click.Path(path_type=Path), default=Path("/complement/ca"))
@click.option("--client", default="0.0.0.0:8008", help="Where clients reach us.")
@click.option("--server", default="0.0.0.0:8448", help="Where servers reach us.")
def main(*, only_prepare: bool, data: Path, ca: Path, client: str, server: str) -> None:
    """Take this process over for the server."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    if only_prepare:
        prepare(data)
        return
    name = os.environ.get("SERVER_NAME", "")
    if not name:
        raise click.ClickException("SERVER_NAME is not set")
    make_certificate(name, data, ca)
    sections = configuration(name, data, ca=ca, client=client, server=server)
    homeserver(["run", "--config", str(write_settings(data, sections, SHARED_SECRET))])


if __name__ == "__main__":
    main()
