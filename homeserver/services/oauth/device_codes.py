"""Logins of devices that have no browser: their user confirms them elsewhere [cs "Device authorisation flow"]."""

import secrets
from typing import Any

from attrs import frozen

from homeserver.core.oauth.clients import DEVICE_CODE
from homeserver.core.oauth.errors import OAuthError
from homeserver.core.oauth.requests import granted_scope
from homeserver.services.now import Clock, now_ms
from homeserver.services.oauth.clients import OAuthClient
from homeserver.services.secret_texts import hash_token, new_token
from storage import oauth as rows
from storage.database import Database

LIFETIME_MS = 900_000
INTERVAL_MS = 5_000
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # make no words, and look like no digits [RFC 8628 section 6.1]
_LENGTH = 8
_TRIES = 5


@frozen
class Redeemed:
    """What a user has confirmed."""

    user_nid: int
    device_id: str
    scope: str


@frozen
class DeviceCodes:
    """Begins, confirms and ends such logins. `page` is where users type the code."""

    database: Database
    page: str
    clock: Clock = now_ms

    async def begin(self, client: OAuthClient, scope: str) -> dict[str, Any]:
        """The answer of the device authorization endpoint. Raises OAuthError."""
        if DEVICE_CODE not in client.metadata.grant_types:
            raise OAuthError("unauthorized_client", "This client did not register for this grant type")
        granted, device_id = granted_scope(scope)
        now, code = self.clock(), new_token("homd")
        row = rows.DeviceCodeRow(
            user_nid=None,
            denied=False,
            polled_ts=0,
            expires_ts=now + LIFETIME_MS,
            client_id=client.client_id,
            device_id=device_id,
            scope=granted,
        )
        word = await self._insert(code, row, now)
        shown = f"{word[:4]}-{word[4:]}"
        return {
            "device_code": code,
            "user_code": shown,
            "verification_uri": self.page,
            "verification_uri_complete": f"{self.page}?user_code={shown}",
            "expires_in": LIFETIME_MS // 1000,
            "interval": INTERVAL_MS // 1000,
        }

    async def waiting(self, user_code: str) -> rows.DeviceCodeRow | None:
        """The login that waits under this code, if it still does."""
        async with self.database.read() as conn:
            found = await rows.device_code_of_user_code(conn, _word(user_code), self.clock())
        return found if found is not None and found.user_nid is None and not found.denied else None

    async def decide(self, user_code: str, user_nid: int | None) -> bool:
        """A user says yes, or no (None); False if it was too late for that."""
        async with self.database.transaction() as conn:
            return await rows.decide_device_code(conn, _word(user_code), user_nid, self.clock())

    async def redeem(self, client_id: str, code: str) -> Redeemed:
        """What came of it. Raises OAuthError as long as it is nothing [RFC 8628 section 3.5]."""
        now, code_hash = self.clock(), hash_token(code)
        async with self.database.transaction() as conn:
            row = await rows.lock_device_code(conn, code_hash)
            if row is None or row.client_id != client_id:
                raise OAuthError("invalid_grant", "This device code is unknown or has been used")
            if row.expires_ts <= now:
                raise OAuthError("expired_token", "Nobody has confirmed this in time")
            if row.denied or row.user_nid is not None:
                await rows.delete_device_code(conn, code_hash)
            else:
                await rows.note_poll(conn, code_hash, now)
        if row.denied:
            raise OAuthError("access_denied", "The user has refused")
        if row.user_nid is None:
            too_soon = now - row.polled_ts < INTERVAL_MS
            code_name = "slow_down" if too_soon else "authorization_pending"
            raise OAuthError(code_name, "The user has not decided yet")
        return Redeemed(row.user_nid, row.device_id, row.scope)

    async def _insert(self, code: str, row: rows.DeviceCodeRow, now: int) -> str:
        async with self.database.transaction() as conn:
            await rows.delete_expired(conn, now)
            for _ in range(_TRIES):
                word = "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
                if await rows.insert_device_code(conn, hash_token(code), word, row):
                    return word
        raise OAuthError("temporarily_unavailable", "Too many logins are under way")


def _word(user_code: str) -> str:
    """The code, however people have typed it."""
    return "".join(letter for letter in user_code.upper() if letter in _LETTERS)
