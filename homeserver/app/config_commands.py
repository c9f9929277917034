"""`homeserver config …`: a documented sample, and a look at a file of the operator's."""

from pathlib import Path

import click

from homeserver.app import config_docs
from homeserver.app.config_file import ConfigFaults, read_config
from homeserver.app.options import Failure


@click.group(name="config")
def config_group() -> None:
    """The configuration file."""


@config_group.command()
def sample() -> None:
    """Print a file with every option and its meaning."""
    click.echo(config_docs.sample(), nl=False)


@config_group.command(hidden=True)
def docs() -> None:
    """Print docs/config.md."""
    click.echo(config_docs.page(), nl=False)


@config_group.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def check(file: Path) -> None:
    """Tell everything that is wrong with FILE."""
    try:
        config = read_config(file)
    except ConfigFaults as cause:
        raise Failure(f"{file} is not a good configuration:\n{cause}") from cause
    click.echo(f"{file} is good (server name {config.server.name}, listening on {config.server.listen})")
