"""`homeserver application-services …`: registration files, and how what they name fares."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from homeserver.app.admin_calls import Operator, url_option
from homeserver.app.application_service_files import read_registrations
from homeserver.app.options import Failure, Place, place_options
from homeserver.app.tables import ahead, moment, print_table
from homeserver.core.application_services import ApplicationService, Namespace

_PATH = "/_synapse/admin/v1/application_services"
_HEADINGS = ("SERVICE", "STATE", "BEHIND", "FAILURES", "LAST SUCCESS", "NEXT TRY", "LAST ERROR")


@click.group(name="application-services")
def application_service_group() -> None:
    """Bridges, bots and other programs with users and rooms of their own."""


@application_service_group.command()
@place_options
@click.argument("files", nargs=-1, type=click.Path(dir_okay=False, path_type=Path))
def check(place: Place, *, files: tuple[Path, ...]) -> None:
    """Say what registration FILES mean, or all that is wrong with them.

    Without FILES: those that the configuration names.
    """
    config = place.load()
    named = files or tuple(config.server.folder / name for name in config.application_services.files)
    services, faults = read_registrations(named, config.server.name)
    for service in services:
        _describe(service)
    if faults:
        raise Failure("\n".join(faults))
    if not named:
        click.echo("the configuration names no application services")


@application_service_group.command(name="list")
@place_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@url_option
def list_services(place: Place, *, as_json: bool, url: str | None) -> None:
    """How each application service of the running server fares."""
    found = Operator.at(place, url).ask("GET", _PATH)["application_services"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        print_table([_HEADINGS, *map(_row, found)])


@application_service_group.command()
@place_options
@click.argument("service_id")
@url_option
def retry(place: Place, *, service_id: str, url: str | None) -> None:
    """Try the service SERVICE_ID now, whatever its back-off says."""
    Operator.at(place, url).ask("POST", f"{_PATH}/{quote(service_id, safe='')}/retry", {})
    click.echo(f"{service_id} is being tried now")


def _describe(service: ApplicationService) -> None:
    click.echo(f"{service.id}: {service.sender}, pushed to {service.url or 'nowhere'}")
    for name, namespaces in (
        ("users", service.namespaces.users),
        ("aliases", service.namespaces.aliases),
        ("rooms", service.namespaces.rooms),
    ):
        for one in namespaces:
            click.echo(f"  {name:<8}{_told(one)}")


def _told(namespace: Namespace) -> str:
    return f"{namespace.regex}{'  (its own alone)' if namespace.exclusive else ''}"


def _row(found: dict[str, Any]) -> tuple[str, ...]:
    return (
        found["id"],
        found["state"],
        "some" if found["behind"] else "-",
        str(found["failures"]),
        moment(found["last_success_ts"]),
        ahead(found["retry_at_ts"]) if found["failures"] else "-",
        (found["last_error"] or "-")[:60] if found["failures"] else "-",
    )
