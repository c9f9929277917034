"""`homeserver media …`: files that must not be had, through the running server's admin interface."""

import time

import click

from homeserver.app.admin_calls import Operator, url_option
from homeserver.app.options import Failure, Place, place_options

_PATH = "/_synapse/admin/v1"
_DAY = 86_400


@click.group(name="media")
def media_group() -> None:
    """Files of users, and copies of other servers' files. MXC is as in mxc://example.org/abc."""


@media_group.command()
@place_options
@click.argument("mxc")
@url_option
def quarantine(place: Place, *, mxc: str, url: str | None) -> None:
    """Withhold MXC, and all that has the same content, from everybody."""
    found = Operator.at(place, url).ask("POST", f"{_PATH}/media/quarantine/{_named(mxc)}")
    click.echo(f"{found['num_quarantined']} withheld")


@media_group.command()
@place_options
@click.argument("mxc")
@url_option
def release(place: Place, *, mxc: str, url: str | None) -> None:
    """Give MXC free again."""
    Operator.at(place, url).ask("POST", f"{_PATH}/media/unquarantine/{_named(mxc)}")
    click.echo("free again")


@media_group.command()
@place_options
@click.argument("mxc")
@url_option
def delete(place: Place, *, mxc: str, url: str | None) -> None:
    """Remove MXC from this server for good."""
    Operator.at(place, url).ask("DELETE", f"{_PATH}/media/{_named(mxc)}")
    click.echo("deleted")


@media_group.command()
@place_options
@click.argument("days", type=click.IntRange(min=0))
@url_option
def purge(place: Place, *, days: int, url: str | None) -> None:
    """Remove copies of other servers' files that nobody wanted for DAYS."""
    before = int(time.time() - days * _DAY) * 1000
    found = Operator.at(place, url).ask("POST", f"{_PATH}/purge_media_cache?before_ts={before}")
    click.echo(f"{found['deleted']} deleted")


def _named(mxc: str) -> str:
    server_name, slash, media_id = mxc.removeprefix("mxc://").partition("/")
    if not mxc.startswith("mxc://") or not slash or not server_name or not media_id or "/" in media_id:
        raise Failure(f"{mxc} is no media URI, as in mxc://example.org/abc")
    return f"{server_name}/{media_id}"
