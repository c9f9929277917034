"""`homeserver policies …`: lists of whom to ban, applied to rooms where those are already."""

from collections.abc import Iterator

import click

from homeserver.app.admin_calls import Operator, url_option
from homeserver.app.options import Place, place_options
from homeserver.app.policy_admin import PATH
from homeserver.app.tables import print_table

_HEADINGS = ("ROOM", "USER", "OUTCOME")


@click.group(name="policies")
def policy_group() -> None:
    """The policy lists of rooms.policy_rooms."""


@policy_group.command()
@place_options
@click.option(
    "--as", "moderator", required=True, help="The administrator's account that bans, as @name:server."
)
@click.option("--dry-run", is_flag=True, help="Only show who would be banned.")
@url_option
def enforce(place: Place, *, moderator: str, dry_run: bool, url: str | None) -> None:
    """Ban whom the lists ban from the rooms of one account, with the power that it has there."""
    operator = Operator.at(place, url)
    if dry_run:
        found = operator.ask("POST", PATH, {"user_id": moderator, "dry_run": True})
        rows = [(seat["room_id"], seat["user_id"], "would be banned") for seat in found["found"]]
        rest = found["total"] - len(rows)
        print_table([_HEADINGS, *rows])
        if rest:
            click.echo(f"and {rest} more")
        return
    print_table([_HEADINGS, *_all(operator, moderator)])


def _all(operator: Operator, moderator: str) -> Iterator[tuple[str, str, str]]:
    """What became of each, until all are dealt with."""
    after = None
    while True:
        done = operator.ask("POST", PATH, {"user_id": moderator, **({"from": after} if after else {})})
        yield from ((seat["room_id"], seat["user_id"], "banned") for seat in done["banned"])
        yield from ((seat["room_id"], seat["user_id"], seat["error"]) for seat in done["refused"])
        after = done.get("next")
        if after is None:
            return
