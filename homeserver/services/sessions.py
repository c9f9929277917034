"""Logging in and out: a device with its access token, refreshed where the client can do that [cs "Legacy API"]."""

import structlog
from attrs import frozen

from homeserver.core.errors import unknown_token
from homeserver.services.access_tokens import AccessTokens
from homeserver.services.device_lists import DeviceLists
from homeserver.services.now import Clock, now_ms
from homeserver.services.secret_texts import hash_token, new_device_id, new_token
from homeserver.services.token_lines import Place, line_begun, place_of
from storage import access_tokens as tokens
from storage import devices
from storage.accounts import Account
from storage.database import Connection, Database

log = structlog.get_logger(__name__)

MAX_DEVICE_ID = 255


@frozen
class Lifetimes:
    """How long tokens live, in seconds; 0: for ever."""

    access: int = 0
    refresh: int = 0


@frozen(kw_only=True)
class DeviceWish:
    """What a client says about itself when it logs in; `oauth_client` is its id there."""

    device_id: str | None = None
    display_name: str | None = None
    refresh: bool = False
    oauth_client: str | None = None


@frozen
class Grant:
    """What a client proves itself by from now on."""

    access_token: str
    refresh_token: str | None
    expires_in_ms: int | None

    def as_json(self) -> dict[str, str | int]:
        """The fields of an answer."""
        fields = {
            "access_token": self.access_token,
            "refresh_token": self.refresh_token,
            "expires_in_ms": self.expires_in_ms,
        }
        return {name: value for name, value in fields.items() if value is not None}


@frozen
class Opened:
    """A device with what it proves itself by from now on."""

    device_id: str
    grant: Grant


@frozen
class Sessions:
    """Begins, continues and ends logins."""

    database: Database
    access_tokens: AccessTokens
    device_lists: DeviceLists
    lifetimes: Lifetimes = Lifetimes()
    clock: Clock = now_ms

    async def open(self, account: Account, wish: DeviceWish) -> Opened:
        """Log in on a new device, or again on a known one, whose former tokens end [cs "POST /login"]."""
        device_id = wish.device_id or new_device_id()
        async with self.database.transaction() as conn:
            nid, is_new = await devices.open_device(
                conn,
                account.user_nid,
                device_id,
                display_name=wish.display_name,
                now=self.clock(),
                oauth_client=wish.oauth_client,
            )
            if not is_new:
                await tokens.delete_tokens_of_device(conn, account.user_nid, nid)
                await tokens.count_revocation(conn)
            line = None if wish.oauth_client is None else line_begun()
            _, grant = await self._grant(conn, (account.user_nid, nid), refreshable=wish.refresh, line=line)
        if not is_new:
            self.access_tokens.forget()
        await self.device_lists.changed(account.user_nid, [device_id])
        return Opened(device_id, grant)

    async def create_device(self, user_nid: int, device_id: str, display_name: str | None) -> bool:
        """A device without tokens, for whoever needs none; False if it is there already."""
        async with self.database.transaction() as conn:
            _, is_new = await devices.open_device(
                conn, user_nid, device_id, display_name=display_name, now=self.clock()
            )
        if is_new:
            await self.device_lists.changed(user_nid, [device_id])
        return is_new

    async def refresh(self, refresh_token: str, *, oauth_client: str | None = None) -> Opened:
        """Exchange a refresh token of that client [cs "Refreshing access tokens"]."""
        async with self.database.transaction() as conn:
            old = await tokens.lock_refresh_token(conn, hash_token(refresh_token))
            if old is None or old.oauth_client != oauth_client:
                raise unknown_token("Unknown refresh token")
            if old.expires_ts is not None and old.expires_ts <= self.clock():
                raise unknown_token("The refresh token has expired", soft_logout=True)
            ended = await tokens.delete_predecessors(conn, old.nid)
            if old.successor is not None:  # the client never got it, or it would have been used by now
                ended += await tokens.delete_refresh_tokens(conn, [old.successor])
            line = None if oauth_client is None else (place_of(refresh_token) or line_begun()).next
            device = (old.user_nid, old.device_nid)
            nid, grant = await self._grant(conn, device, refreshable=True, line=line)
            await tokens.set_successor(conn, old.nid, nid)
            count = await tokens.count_revocation(conn) if ended else 0
        if ended:
            self.access_tokens.drop(ended, count)
        return Opened(old.device_id, grant)

    async def end_replayed(self, refresh_token: str, oauth_client: str) -> None:
        """End the session of a refresh token that comes again after its successor was used [RFC 9700 4.14.2].

        Either who brings it has stolen it, or who used it before. Nobody can tell, so neither goes on.
        """
        place = place_of(refresh_token)
        if place is None:
            return
        async with self.database.read() as conn:
            found = await tokens.session_of_line(
                conn, place.row, oauth_client=oauth_client, token_hash=hash_token(refresh_token)
            )
        if found is None:
            return
        await self.close(found.user_nid, found.device_id)
        log.warning(
            "a refresh token was used again, maybe by a thief: its session is ended",
            user=found.user_id,
            device=found.device_id,
            client=oauth_client,
        )

    async def revoke(self, token: str) -> None:
        """Log the device out that an access or refresh token is of, if there is one [cs "Token revocation"]."""
        async with self.database.read() as conn:
            found = await tokens.device_of_token(conn, hash_token(token))
        if found is not None:
            await self.close(*found)

    async def close(self, user_nid: int, device_id: str) -> None:
        """Log one device out: it ceases to be [cs "POST /logout"]."""
        await self.delete_devices(user_nid, [device_id])

    async def close_all(self, user_nid: int, *, keep: int | None = None) -> None:
        """Log all devices out, but for `keep` [cs "POST /logout/all"]."""
        async with self.database.transaction() as conn:
            gone = await devices.delete_devices(conn, user_nid, keep=keep)
            if keep is None:
                await tokens.delete_tokens_of_user(conn, user_nid)
            await tokens.count_revocation(conn)
        await self._closed(user_nid, gone)

    async def delete_devices(self, user_nid: int, device_ids: list[str]) -> None:
        """Delete devices and all that hangs on them; unknown ones are none already."""
        async with self.database.transaction() as conn:
            gone = await devices.delete_devices(conn, user_nid, device_ids=device_ids)
            await tokens.count_revocation(conn)
        await self._closed(user_nid, gone)

    async def _closed(self, user_nid: int, gone: list[str]) -> None:
        self.access_tokens.forget()
        if gone:
            await self.device_lists.changed(user_nid, gone)

    async def _grant(
        self, conn: Connection, device: tuple[int, int], *, refreshable: bool, line: Place | None
    ) -> tuple[int, Grant]:
        now = self.clock()
        access, refresh = new_token("hom"), None
        refresh_nid, expires_in = None, None
        if refreshable:
            refresh = new_token("homr") if line is None else line.new_token()
            refresh_nid = await tokens.insert_refresh_token(
                conn,
                hash_token(refresh),
                device,
                line=None if line is None else line.row,
                expires_ts=_after(now, self.lifetimes.refresh),
                now=now,
            )
            expires_in = self.lifetimes.access * 1000 or None
        await tokens.insert_access_token(
            conn,
            hash_token(access),
            device,
            refresh_nid=refresh_nid,
            expires_ts=now + expires_in if expires_in else None,
            now=now,
        )
        return refresh_nid or 0, Grant(access, refresh, expires_in)


def _after(now: int, seconds: int) -> int | None:
    return now + seconds * 1000 if seconds else None
