"""`homeserver federation …`: other servers, as the running server sees them."""

import json
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

import click

from homeserver.app.admin_calls import Operator, url_option
from homeserver.app.options import Place, place_options
from homeserver.app.tables import ahead, moment, print_table

_PATH = "/_synapse/admin/v1/federation/destinations"
_PAGE = 500
_HEADINGS = ("SERVER", "STATE", "EVENTS", "MESSAGES", "LAST SUCCESS", "NEXT TRY", "LAST ERROR")
_ERROR_WIDTH = 60

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(name="federation")
def federation_group() -> None:
    """Other servers: how they fare, and what waits for them."""


@federation_group.command()
@place_options
@click.option("--troubled", is_flag=True, help="Only servers that are down or behind.")
@_json
@url_option
def destinations(place: Place, *, troubled: bool, as_json: bool, url: str | None) -> None:
    """List the servers that this one has sent to."""
    found = [
        one for one in _every(Operator.at(place, url)) if not troubled or one["state"] in ("down", "behind")
    ]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        print_table([_HEADINGS, *map(_row, found)])


@federation_group.command()
@place_options
@click.argument("server")
@_json
@url_option
def show(place: Place, *, server: str, as_json: bool, url: str | None) -> None:
    """Tell all about SERVER, with the events that wait for it counted."""
    found = Operator.at(place, url).ask("GET", f"{_PATH}/{quote(server, safe='')}")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    lines = (
        ("server", found["destination"]),
        ("state", found["state"]),
        ("events waiting", found["events_waiting"]),
        ("messages waiting", found["messages_waiting"]),
        ("failures in a row", found["failures"]),
        ("failing since", moment(found["failure_ts"])),
        ("next try", ahead(found["retry_at_ts"])),
        ("last success", moment(found["last_success_ts"])),
        ("last error", found["last_error"] or "-"),
    )
    for name, value in lines:
        click.echo(f"{name + ':':<19}{value}")


@federation_group.command()
@place_options
@click.argument("server")
@url_option
def retry(place: Place, *, server: str, url: str | None) -> None:
    """Try SERVER now, whatever its back-off says."""
    Operator.at(place, url).ask("POST", f"{_PATH}/{quote(server, safe='')}/reset_connection", {})
    click.echo(f"{server} is being tried now")


def _every(operator: Operator) -> Iterator[dict[str, Any]]:
    """Every server, page by page."""
    after: str | None = ""
    while after is not None:
        page = operator.ask("GET", f"{_PATH}?limit={_PAGE}&from={quote(after, safe='')}")
        yield from page["destinations"]
        after = page.get("next_token")


def _row(found: dict[str, Any]) -> Sequence[str]:
    events = found["events_waiting"]
    return (
        found["destination"],
        found["state"],
        "some" if events is None else str(events),
        str(found["messages_waiting"]),
        moment(found["last_success_ts"]),
        ahead(found["retry_at_ts"]) if found["failures"] else "-",
        (found["last_error"] or "-")[:_ERROR_WIDTH] if found["failures"] else "-",
    )
