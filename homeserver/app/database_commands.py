"""`homeserver db …`: a look at the database, its migration ahead of a start, and PostgreSQL's own programs on it."""

import asyncio
import os
import shutil
import subprocess
import sys
from urllib.parse import parse_qsl, unquote, urlsplit

import click

from homeserver.app.database_place import any_database
from homeserver.app.database_setup import due_changes, prepare_database
from homeserver.app.options import Failure, Place, place_options
from homeserver.app.postgres_binaries import find_binaries


@click.group(name="db")
def db_group() -> None:
    """The database."""


@db_group.command()
@place_options
def check(place: Place) -> None:
    """Tell whether the database is fit, and which changes of its tables are due."""
    with any_database(place.load(), _report) as database:
        due = asyncio.run(due_changes(database.url))
    for migration in due:
        click.echo(f"due: {migration.number:04} {migration.name}")
    remark = "; `homeserver db migrate` or the next start brings it up to date" if due else ""
    click.echo(f"the database is good{remark}")


@db_group.command()
@place_options
def migrate(place: Place) -> None:
    """Create the tables, or bring them up to date."""
    with any_database(place.load(), _report) as database:
        count = asyncio.run(prepare_database(database.url, _report))
    click.echo(f"{count} changes made" if count else "the tables are up to date")


@db_group.command(name="exec", context_settings={"ignore_unknown_options": True})
@place_options
@click.argument("program")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def execute(place: Place, *, program: str, arguments: tuple[str, ...]) -> None:
    """Run PROGRAM (psql, pg_dump, pg_restore, ...) on the database, which is started if need be."""
    config = place.load()
    with any_database(config, _report) as database:
        environment = {**os.environ, **connection_variables(database.url)}
        if not config.database.url:  # the programs that fit the embedded server
            environment["PATH"] = os.pathsep.join([str(find_binaries().folder), environment.get("PATH", "")])
        found = shutil.which(program, path=environment.get("PATH"))
        if found is None:
            raise Failure(f"there is no program {program} here")
        status = subprocess.run([found, *arguments], env=environment, check=False).returncode  # noqa: S603
    sys.exit(status)


def connection_variables(url: str) -> dict[str, str]:
    """A database URL as the environment variables that PostgreSQL's programs read."""
    parts = urlsplit(url)
    given = {
        "PGHOST": parts.hostname,
        "PGPORT": str(parts.port) if parts.port else None,
        "PGUSER": unquote(parts.username) if parts.username else None,
        "PGPASSWORD": unquote(parts.password) if parts.password else None,
        "PGDATABASE": unquote(parts.path.lstrip("/")) or None,
        **{f"PG{name.upper()}": value for name, value in parse_qsl(parts.query)},
    }
    return {name: value for name, value in given.items() if value}


def _report(text: str) -> None:
    click.echo(text, err=True)
