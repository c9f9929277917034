"""`homeserver token …`: registration tokens, kept directly in the database; the server may be running or not."""

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from homeserver.app.database_place import any_database
from homeserver.app.database_setup import prepare_database
from homeserver.app.options import Failure, Place, place_options
from storage.database import Connection, Database, PoolSizes
from storage.registration_tokens import RegistrationToken, all_tokens, delete_token, insert_token

T = TypeVar("T")
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{1,64}", re.ASCII)  # [cs "Token-authenticated registration"]


@click.group(name="token")
def token_group() -> None:
    """Registration tokens: who has one may make an account."""


@token_group.command()
@place_options
@click.argument("token", required=False)
@click.option(
    "--uses", type=click.IntRange(min=1), help="How many accounts may be made [default: any number]."
)
@click.option("--days", type=click.FloatRange(min=0), help="How long it is good [default: for ever].")
def create(place: Place, *, token: str | None, uses: int | None, days: float | None) -> None:
    """Make TOKEN, or one that nobody can guess, and print it."""
    chosen = token or secrets.token_urlsafe(12)
    if not _TOKEN.fullmatch(chosen):
        raise Failure("a token is up to 64 letters, digits and . _ ~ -")
    expires_ts = None if days is None else int((time.time() + days * 86_400) * 1000)
    if not _in_database(
        place, lambda conn: insert_token(conn, chosen, uses_allowed=uses, expires_ts=expires_ts)
    ):
        raise Failure(f"there is a token {chosen} already")
    click.echo(chosen)


@token_group.command(name="list")
@place_options
def list_tokens(place: Place) -> None:
    """Print every token with its uses and its end."""
    for token in _in_database(place, all_tokens):
        click.echo(_line(token))


@token_group.command()
@place_options
@click.argument("token")
def delete(place: Place, *, token: str) -> None:
    """End TOKEN; accounts made with it stay."""
    if not _in_database(place, lambda conn: delete_token(conn, token)):
        raise Failure(f"there is no token {token}")


def _line(token: RegistrationToken) -> str:
    allowed = "any number" if token.uses_allowed is None else str(token.uses_allowed)
    ends = "for ever"
    if token.expires_ts is not None:
        ends = time.strftime("until %Y-%m-%d %H:%M UTC", time.gmtime(token.expires_ts / 1000))
    return f"{token.token}  {token.completed} of {allowed} used, {ends}"


def _in_database(place: Place, work: Callable[[Connection], Awaitable[T]]) -> T:
    with any_database(place.load(), lambda text: click.echo(text, err=True)) as found:

        async def run() -> T:
            await prepare_database(found.url, lambda text: click.echo(text, err=True))
            database = Database(url=found.url, sizes=PoolSizes(writers=1, readers=1))
            await database.connect()
            try:
                async with database.transaction() as conn:
                    return await work(conn)
            finally:
                await database.close()

        return asyncio.run(run())
