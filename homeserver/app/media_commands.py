"""`homeserver media …`: files that must not be had, through the running server's admin interface."""

import time
from typing import Any

import click

from homeserver.app.admin_calls import call, server_url, shared_secret
from homeserver.app.operator_proof import HEADER, prove
from homeserver.app.options import Failure, Place, place_options
from homeserver.services.now import now_ms

_PATH = "/_synapse/admin/v1"
_DAY = 86_400

_url = click.option(
    "--url", help="Where the server is [default: where the one with this data folder listens]."
)


@click.group(name="media")
def media_group() -> None:
    """Files of users, and copies of other servers' files. MXC is as in mxc://example.org/abc."""


@media_group.command()
@place_options
@click.argument("mxc")
@_url
def quarantine(place: Place, *, mxc: str, url: str | None) -> None:
    """Withhold MXC, and all that has the same content, from everybody."""
    found = _ask(place, url, "POST", f"{_PATH}/media/quarantine/{_named(mxc)}")
    click.echo(f"{found['num_quarantined']} withheld")


@media_group.command()
@place_options
@click.argument("mxc")
@_url
def release(place: Place, *, mxc: str, url: str | None) -> None:
    """Give MXC free again."""
    _ask(place, url, "POST", f"{_PATH}/media/unquarantine/{_named(mxc)}")
    click.echo("free again")


@media_group.command()
@place_options
@click.argument("mxc")
@_url
def delete(place: Place, *, mxc: str, url: str | None) -> None:
    """Remove MXC from this server for good."""
    _ask(place, url, "DELETE", f"{_PATH}/media/{_named(mxc)}")
    click.echo("deleted")


@media_group.command()
@place_options
@click.argument("days", type=click.IntRange(min=0))
@_url
def purge(place: Place, *, days: int, url: str | None) -> None:
    """Remove copies of other servers' files that nobody wanted for DAYS."""
    before = int(time.time() - days * _DAY) * 1000
    found = _ask(place, url, "POST", f"{_PATH}/purge_media_cache?before_ts={before}")
    click.echo(f"{found['deleted']} deleted")


def _named(mxc: str) -> str:
    server_name, slash, media_id = mxc.removeprefix("mxc://").partition("/")
    if not mxc.startswith("mxc://") or not slash or not server_name or not media_id or "/" in media_id:
        raise Failure(f"{mxc} is no media URI, as in mxc://example.org/abc")
    return f"{server_name}/{media_id}"


def _ask(place: Place, url: str | None, method: str, target: str) -> dict[str, Any]:
    config = place.load()
    proof = prove(shared_secret(config), method, target, now_ms())
    return call(server_url(config, url) + target, headers={HEADER: proof}, method=method)
