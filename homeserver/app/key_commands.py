"""`homeserver keys …`: the key that signs what this server says."""

import time

import click

from homeserver.app.database_place import sole_server
from homeserver.app.key_files import UnusableKeyFile, rotate_signing_key
from homeserver.app.options import Failure, Place, place_options


@click.group(name="keys")
def keys_group() -> None:
    """The key that signs this server's events and requests."""


@keys_group.command()
@place_options
def rotate(place: Place) -> None:
    """Sign with a new key from now on, and publish the old one as retired. The server must not be running."""
    config = place.load()
    with sole_server(config):
        try:
            old, new = rotate_signing_key(config, time.time_ns() // 1_000_000)
        except UnusableKeyFile as cause:
            raise Failure(str(cause)) from cause
    click.echo(f"{old.alg}:{old.version} is retired, {new.alg}:{new.version} signs from now on")
