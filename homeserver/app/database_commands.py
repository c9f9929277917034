"""`homeserver db …`: a look at the database, and its migration ahead of a start."""

import asyncio

import click

from homeserver.app.database_place import any_database
from homeserver.app.database_setup import due_changes, prepare_database
from homeserver.app.options import Place, place_options


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


def _report(text: str) -> None:
    click.echo(text, err=True)
