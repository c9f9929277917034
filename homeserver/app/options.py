"""The options that several commands share, and how they become a configuration."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from attrs import evolve, frozen

from homeserver.app.config import Config
from homeserver.app.config_file import ConfigFaults, build_config, read_config

_AUTOMATIC_NAME = "homeserver.toml"


class Failure(click.ClickException):
    """Something the operator has to put right: told in words, without a traceback."""

    def show(self, file: Any = None) -> None:
        click.echo(f"homeserver: {self.message}", err=True)


@frozen
class Place:
    """What the command line says about where things are."""

    config_file: str | None = None
    data: str | None = None
    database_url: str | None = None

    def load(self) -> Config:
        """The configuration file, if any, with the command line's word over it."""
        config = self._from_file()
        if self.data:
            config = evolve(config, server=evolve(config.server, data=self.data))
        if self.database_url:
            config = evolve(config, database=evolve(config.database, url=self.database_url))
        return config

    def _from_file(self) -> Config:
        automatic = Path(self.data or Config().server.data) / _AUTOMATIC_NAME
        if self.config_file is None and not automatic.exists():
            return Config()
        path = Path(self.config_file or automatic)
        try:
            return read_config(path)
        except ConfigFaults as cause:
            raise Failure(f"{path} is not a good configuration:\n{cause}") from cause


def place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options; the command receives a `Place` as its first argument."""

    @click.option(
        "--config",
        "config_file",
        type=click.Path(dir_okay=False),
        help=f"TOML file [default: {_AUTOMATIC_NAME} in the data folder, if it is there].",
    )
    @click.option("--data", type=click.Path(file_okay=False), help="Data folder [default: data].")
    @click.option("--database-url", envvar="DATABASE_URL", help="A PostgreSQL of your own.")
    @functools.wraps(command)
    def with_place(
        *, config_file: str | None, data: str | None, database_url: str | None, **others: Any
    ) -> Any:
        return command(Place(config_file=config_file, data=data, database_url=database_url), **others)

    return with_place


def checked(config: Config) -> Config:
    """The configuration again, if what the command line put into it is good too."""
    try:
        build_config({"server": {"name": config.server.name, "listen": config.server.listen}})
    except ConfigFaults as cause:
        raise Failure(str(cause)) from cause
    return config
