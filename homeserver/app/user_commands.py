"""`homeserver user …`: accounts, through the running server's admin interface."""

import hashlib
import hmac

import click

from homeserver.app.admin_calls import call, server_url, shared_secret
from homeserver.app.options import Place, place_options

_PATH = "/_synapse/admin/v1/register"


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
    secret = shared_secret(config)
    if password is None:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    target = server_url(config, url) + _PATH
    nonce = call(target)["nonce"]
    body = {"nonce": nonce, "username": name, "password": password, "admin": admin}
    body["mac"] = _mac(secret, nonce=nonce, name=name, password=str(password), admin=admin)
    answer = call(target, body)
    click.echo(f"{answer['user_id']} can log in now")


def _mac(secret: str, *, nonce: str, name: str, password: str, admin: bool) -> str:
    """What proves that we know the secret; the form is fixed by the tools that use this interface."""
    text = "\0".join([nonce, name, password, "admin" if admin else "notadmin"])
    return hmac.new(secret.encode(), text.encode(), hashlib.sha1).hexdigest()
