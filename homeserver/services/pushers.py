"""What users set up to be told of notifications outside of Matrix [cs "Client behaviour" of push]."""

from collections.abc import Callable, Sequence

from attrs import frozen

from homeserver.core.errors import invalid_param
from homeserver.services.now import now_ms
from storage import pushers
from storage.database import Database
from storage.pushers import Pusher, Wish
from storage.streams import current_position

MAX_PUSHERS = 50  # of one user


@frozen
class Pushers:
    """Keeps pushers; `changed` hears of a user whose pushers are others now."""

    database: Database
    changed: Callable[[int], None]

    async def of(self, user_nid: int) -> Sequence[Pusher]:
        """A user's pushers."""
        async with self.database.read() as conn:
            return await pushers.of_user(conn, user_nid)

    async def put(self, owner: tuple[int, int | None], wish: Wish, *, append: bool) -> None:
        """Make or change a pusher of (user_nid, device_nid); unless `append`, others lose theirs under this key."""
        async with self.database.transaction() as conn:
            known = await pushers.of_user(conn, owner[0])
            if len(known) >= MAX_PUSHERS and not any(_is_for(one, wish) for one in known):
                raise invalid_param(f"There can be {MAX_PUSHERS} pushers at most; delete one first")
            if not append:
                await pushers.delete_others(conn, owner[0], wish.app_id, wish.pushkey)
            await pushers.put(conn, owner, wish, (await current_position(conn), now_ms()))
        self.changed(owner[0])

    async def delete(self, user_nid: int, app_id: str, pushkey: str) -> None:
        """Delete a pusher; it need not be there."""
        async with self.database.transaction() as conn:
            await pushers.delete(conn, user_nid, app_id, pushkey)
        self.changed(user_nid)


def _is_for(pusher: Pusher, wish: Wish) -> bool:
    return (pusher.wish.app_id, pusher.wish.pushkey) == (wish.app_id, wish.pushkey)
