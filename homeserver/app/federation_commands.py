"""`homeserver federation …`: other servers, as the running server sees them."""

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

import click

from homeserver.app.admin_calls import Operator, url_option
from homeserver.app.options import Place, place_options
from homeserver.services.now import now_ms

_PATH = "/_synapse/admin/v1/federation/destinations"
_PAGE = 500
_HEADINGS = ("SERVER", "STATE", "EVENTS", "MESSAGES", "LAST SUCCESS", "NEXT TRY", "LAST ERROR")
_ERROR_WIDTH = 60
_STEPS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))

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
        _print_table([_HEADINGS, *map(_row, found)])


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
        ("failing since", _moment(found["failure_ts"])),
        ("next try", _ahead(found["retry_at_ts"])),
        ("last success", _moment(found["last_success_ts"])),
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
        _moment(found["last_success_ts"]),
        _ahead(found["retry_at_ts"]) if found["failures"] else "-",
        (found["last_error"] or "-")[:_ERROR_WIDTH] if found["failures"] else "-",
    )


def _print_table(rows: list[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _moment(ts: int | None) -> str:
    return "-" if not ts else time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(ts / 1000))


def _ahead(ts: int | None) -> str:
    """How long until then, in one unit."""
    left = 0 if not ts else (ts - now_ms()) // 1000
    if left <= 0:
        return "now"
    length, unit = next(step for step in _STEPS if left >= step[0])
    return f"in {left // length} {unit}"
