"""How other commands find a running server: the `ready` line, and a note in the data folder."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from homeserver.app.config import Config
from homeserver.app.key_files import write_private

_NOTE = "running.json"


def local_url(listen: str) -> str:
    """How to reach a listen address from this machine."""
    host, _, port = listen.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "*": "127.0.0.1"}.get(host, host)  # noqa: S104 (not bound)
    return f"http://{host}:{port}"


@contextmanager
def announced(config: Config) -> Iterator[None]:
    """Say that the server serves: one line on standard output, and the note for as long as it lasts."""
    note = config.server.folder / _NOTE
    url = local_url(config.server.listen)
    write_private(note, json.dumps({"url": url, "server_name": config.server.name, "pid": os.getpid()}))
    click.echo(f"ready {url} (server name {config.server.name})")
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def running_url(folder: Path) -> str | None:
    """Where the server of this data folder said it listens; it may have been killed since."""
    try:
        return str(json.loads((folder / _NOTE).read_text())["url"])
    except (OSError, ValueError, KeyError):
        return None
