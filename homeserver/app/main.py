"""The command `homeserver`."""

import signal
import sys
from types import FrameType

import click
import structlog
from attrs import evolve

from homeserver.app.application_service_commands import application_service_group
from homeserver.app.config import Config
from homeserver.app.config_commands import config_group
from homeserver.app.database_commands import db_group
from homeserver.app.database_place import server_database, sole_server
from homeserver.app.federation_commands import federation_group
from homeserver.app.key_commands import keys_group
from homeserver.app.logs import set_up_logs
from homeserver.app.media_commands import media_group
from homeserver.app.options import Place, checked, place_options
from homeserver.app.policy_commands import policy_group
from homeserver.app.report_commands import report_group
from homeserver.app.serving import run_loop, serve
from homeserver.app.token_commands import token_group
from homeserver.app.user_commands import user_group


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Homing, a Matrix homeserver."""


@main.command()
@place_options
@click.option("--server-name", help="The name after the colon in user ids [default: localhost].")
@click.option("--listen", help="Address and port for HTTP [default: 127.0.0.1:8008].")
@click.option("--open-registration", is_flag=True, help="Anybody may create an account.")
@click.option("--no-rate-limits", is_flag=True, help="For tests and trusted networks.")
def run(
    place: Place,
    *,
    server_name: str | None,
    listen: str | None,
    open_registration: bool,
    no_rate_limits: bool,
) -> None:
    """Run a server until SIGTERM or Ctrl-C.

    It prints one line beginning with "ready " when it serves. Logs go to standard error.
    """
    config = place.load()
    config = _with_address(config, server_name, listen)
    if open_registration:
        config = evolve(config, registration=evolve(config.registration, open=True))
    if no_rate_limits:
        config = evolve(config, rate_limits=evolve(config.rate_limits, enabled=False))
    _run(checked(config))


def _with_address(config: Config, server_name: str | None, listen: str | None) -> Config:
    server = evolve(
        config.server, name=server_name or config.server.name, listen=listen or config.server.listen
    )
    return evolve(config, server=server)


def _run(config: Config) -> None:
    set_up_logs(config.logging)
    log = structlog.get_logger(__name__)
    # Until the loop has handlers of its own: end in order, so that the database is ended too.
    signal.signal(signal.SIGTERM, _exit)
    with sole_server(config), server_database(config, log.info) as database:
        run_loop(serve(config, database))


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


main.add_command(application_service_group)
main.add_command(config_group)
main.add_command(db_group)
main.add_command(federation_group)
main.add_command(keys_group)
main.add_command(media_group)
main.add_command(policy_group)
main.add_command(report_group)
main.add_command(token_group)
main.add_command(user_group)
