"""`homeserver user …`: accounts, through the running server's admin interface."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import click

from homeserver.app.options import Failure, Place, place_options
from homeserver.app.running import local_url, running_url

_PATH = "/_synapse/admin/v1/register"
_TIMEOUT = 30.0


@click.group(name="user")
def user_group() -> None:
    """Accounts."""


@user_group.command()
@place_options
@click.argument("name")
@click.option("--admin", is_flag=True, help="The account may use the admin interface.")
@click.option("--password", help="Asked for when it is not given here. Other users may see the command line.")
@click.option("--url", help="Where the server is [default: where the one with this data folder listens].")
def create(place: Place, *, name: str, admin: bool, password: str | None, url: str | None) -> None:
    """Create the account NAME on the running server."""
    config = place.load()
    folder = config.server.folder
    secret = _secret(folder / config.registration.shared_secret_file)
    if password is None:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    target = (url or running_url(folder) or local_url(config.server.listen)).rstrip("/") + _PATH
    nonce = _call(target)["nonce"]
    body = {"nonce": nonce, "username": name, "password": password, "admin": admin}
    body["mac"] = _mac(secret, nonce=nonce, name=name, password=str(password), admin=admin)
    answer = _call(target, body)
    click.echo(f"{answer['user_id']} can log in now")


def _secret(path: Path) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError as cause:
        raise Failure(
            f"{path} is not there: start the server first, or name its data folder with --data"
        ) from cause
    except OSError as cause:
        raise Failure(
            f"{path} cannot be read ({cause.strerror}): do this as the user who runs the server"
        ) from cause


def _mac(secret: str, *, nonce: str, name: str, password: str, admin: bool) -> str:
    """What proves that we know the secret; the form is fixed by the tools that use this interface."""
    text = "\0".join([nonce, name, password, "admin" if admin else "notadmin"])
    return hmac.new(secret.encode(), text.encode(), hashlib.sha1).hexdigest()


def _call(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """GET, or POST of a body."""
    if not url.startswith(("http://", "https://")):
        raise Failure(f"{url} is no http or https URL")
    data = json.dumps(body).encode() if body is not None else None
    request = Request(url, data=data, headers={"Content-Type": "application/json"})  # noqa: S310 (checked above)
    try:
        with urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310 (checked above)
            answer: dict[str, Any] = json.load(response)
            return answer
    except HTTPError as cause:
        raise Failure(f"the server refused: {_message(cause)}") from cause
    except (URLError, TimeoutError, ValueError) as cause:
        reason = getattr(cause, "reason", cause)
        raise Failure(f"no server answers at {request.full_url} ({reason}): is it running?") from cause


def _message(error: HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError, TypeError):
        return f"status {error.code}"
