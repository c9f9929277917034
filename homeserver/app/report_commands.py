"""`homeserver reports …`: what users found inappropriate."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import click

from homeserver.app.admin_calls import Operator, url_option
from homeserver.app.options import Place, place_options
from homeserver.app.tables import moment, print_table

_PATH = "/_synapse/admin/v1/event_reports"
_PAGE = 500
_HEADINGS = ("REPORT", "WHEN", "BY", "ABOUT", "REASON")
_REASON_WIDTH = 60

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(name="reports")
def report_group() -> None:
    """What users reported: events, rooms, users."""


@report_group.command(name="list")
@place_options
@_json
@url_option
def list_reports(place: Place, *, as_json: bool, url: str | None) -> None:
    """List what is not dealt with, the latest first."""
    found = list(_every(Operator.at(place, url)))
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        print_table([_HEADINGS, *map(_row, found)])


@report_group.command()
@place_options
@click.argument("number", type=int)
@_json
@url_option
def show(place: Place, *, number: int, as_json: bool, url: str | None) -> None:
    """Tell all about the report of this NUMBER, with the event that it is about."""
    found = Operator.at(place, url).ask("GET", f"{_PATH}/{number}")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    event = found["event_json"]
    lines = (
        ("report", found["id"]),
        ("when", moment(found["received_ts"])),
        ("by", found["user_id"]),
        ("room", found["room_id"] or "-"),
        ("event", found["event_id"] or "-"),
        ("user", found["sender"] or "-"),
        ("reason", found["reason"] or "-"),
        ("content", "-" if event is None else json.dumps(event.get("content"), ensure_ascii=False)),
    )
    for name, value in lines:
        click.echo(f"{name + ':':<9}{value}")


@report_group.command()
@place_options
@click.argument("number", type=int)
@url_option
def delete(place: Place, *, number: int, url: str | None) -> None:
    """Delete the report of this NUMBER: it is dealt with."""
    Operator.at(place, url).ask("DELETE", f"{_PATH}/{number}")
    click.echo(f"report {number} is deleted")


def _every(operator: Operator) -> Iterator[dict[str, Any]]:
    """Every report, page by page."""
    after = ""
    while True:
        page = operator.ask("GET", f"{_PATH}?limit={_PAGE}{after}")
        yield from page["event_reports"]
        if "next_token" not in page:
            return
        after = f"&from={page['next_token']}"


def _row(found: dict[str, Any]) -> Sequence[str]:
    about = found["event_id"] or found["room_id"] or found["sender"] or "-"
    reason = " ".join((found["reason"] or "-").split())
    return (str(found["id"]), moment(found["received_ts"]), found["user_id"], about, reason[:_REASON_WIDTH])
