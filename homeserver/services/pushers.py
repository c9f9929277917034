"""What users set up to be told of notifications outside of Matrix [cs "Client behaviour" of push]."""

from collections.abc import Callable, Sequence
from hmac import compare_digest
from uuid import uuid4

from attrs import frozen

from homeserver.core.email_addresses import canonical_email
from homeserver.core.errors import MatrixError, invalid_param, not_found
from homeserver.services.now import now_ms
from homeserver.services.secret_texts import new_token
from storage import addresses, pushers
from storage.database import Connection, Database
from storage.pushers import Pusher, Token, Wish
from storage.streams import current_position

MAX_PUSHERS = 50  # of one user
HTTP, EMAIL, WEB_PUSH = "http", "email", "webpush"
WEB_PUSHES = (WEB_PUSH, "org.matrix.msc4174.webpush")  # the second one until the specification has the first
ACTIVATION_MS = 5 * 60_000  # [MSC4174]


@frozen
class Pushers:
    """Keeps pushers; `changed` hears of a user whose pushers are others now."""

    database: Database
    changed: Callable[[int], None]

    async def of(self, user_nid: int) -> Sequence[Pusher]:
        """A user's pushers."""
        async with self.database.read() as conn:
            return await pushers.of_user(conn, user_nid)

    async def put(self, owner: tuple[int, int | None], wish: Wish, *, append: bool) -> bool:
        """Make or change a pusher of (user_nid, device_nid); unless `append`, others lose theirs under this key.

        Says whether the app has to activate it first.
        """
        async with self.database.transaction() as conn:
            known = await pushers.of_user(conn, owner[0])
            before = next((one for one in known if _is_for(one, wish)), None)
            if len(known) >= MAX_PUSHERS and before is None:
                raise invalid_param(f"There can be {MAX_PUSHERS} pushers at most; delete one first")
            if wish.kind == EMAIL:
                await _check_address(conn, owner[0], wish.pushkey)
            if not append:
                await pushers.delete_others(conn, owner[0], wish.app_id, wish.pushkey)
            token = _token(wish, before)
            await pushers.put(conn, owner, wish, (await current_position(conn), now_ms()), token=token)
        self.changed(owner[0])
        return token is not None and wish.kind in WEB_PUSHES

    async def activate(self, user_nid: int, app_id: str, token: str) -> None:
        """An app sends back what it was told. Raises M_NOT_FOUND and what MSC4174 has for tokens."""
        async with self.database.transaction() as conn:
            known = [one for one in await pushers.of_user(conn, user_nid) if one.wish.app_id == app_id]
            found = next((one for one in known if one.token and compare_digest(one.token.text, token)), None)
            if not any(one.wish.kind in WEB_PUSHES for one in known):
                raise not_found("You have no pusher for this app")
            if found is None or found.wish.kind not in WEB_PUSHES or found.token is None:
                raise MatrixError(400, "M_UNKNOWN_ACTIVATION_TOKEN", "No pusher of this app has such a token")
            if (found.token.until or 0) < now_ms():
                raise MatrixError(
                    400, "M_EXPIRED_ACTIVATION_TOKEN", "The token is too old: set the pusher again"
                )
            await pushers.activate(conn, found.nid, token, await current_position(conn))
        self.changed(user_nid)

    async def unsubscribe(self, nid: int, token: str) -> bool:
        """Somebody follows the link in a mail. Says whether there was such a pusher."""
        async with self.database.transaction() as conn:
            found = await pushers.one(conn, nid)
            if found is None or found.wish.kind != EMAIL or found.token is None:
                return False
            if not compare_digest(found.token.text, token):
                return False
            await pushers.delete_one(conn, nid)
        self.changed(found.user_nid)
        return True

    async def delete(self, user_nid: int, app_id: str, pushkey: str) -> None:
        """Delete a pusher; it need not be there."""
        async with self.database.transaction() as conn:
            await pushers.delete(conn, user_nid, app_id, pushkey)
        self.changed(user_nid)


def _is_for(pusher: Pusher, wish: Wish) -> bool:
    return (pusher.wish.app_id, pusher.wish.pushkey) == (wish.app_id, wish.pushkey)


def _token(wish: Wish, before: Pusher | None) -> Token | None:
    """What a mail's link holds; what an app must send back that is new, has moved, or has not done so yet."""
    if wish.kind == EMAIL:
        return Token(new_token("mail"))
    if wish.kind not in WEB_PUSHES:
        return None
    active = before is not None and before.wish.kind in WEB_PUSHES and before.token is None
    if before and active and all(before.wish.data.get(one) == wish.data.get(one) for one in ("url", "auth")):
        return None
    return Token(str(uuid4()), now_ms() + ACTIVATION_MS)


async def _check_address(conn: Connection, user_nid: int, address: str) -> None:
    """Mails go to addresses that are the user's, so that nobody has others written to."""
    known, wanted = await addresses.addresses_of(conn, user_nid), ("email", canonical_email(address))
    if not any((one.medium, one.address) == wanted for one in known):
        raise MatrixError(400, "M_THREEPID_NOT_FOUND", "Add this e-mail address to your account first")
