"""The token endpoint: codes and refresh tokens become tokens [cs "Grant types"]."""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from homeserver.core.errors import MatrixError
from homeserver.core.oauth.clients import CODE, DEVICE_CODE, REFRESH
from homeserver.core.oauth.errors import OAuthError
from homeserver.core.oauth.requests import API, DEVICE, AuthorizationRequest, verifies
from homeserver.services.now import Clock, now_ms
from homeserver.services.oauth.clients import OAuthClient, OAuthClients
from homeserver.services.oauth.device_codes import DeviceCodes, Redeemed
from homeserver.services.secret_texts import hash_token, new_token
from homeserver.services.sessions import DeviceWish, Opened, Sessions
from storage import oauth as rows
from storage.accounts import Account, account_by_nid
from storage.database import Database

CODE_LIFETIME_MS = 60_000


@frozen
class OAuthTokens:
    """Grants tokens. `sessions` gives them the short life that OAuth wants."""

    database: Database
    clients: OAuthClients
    device_codes: DeviceCodes
    sessions: Sessions
    clock: Clock = now_ms

    async def new_code(self, client: OAuthClient, request: AuthorizationRequest, user_nid: int) -> str:
        """What the client comes for its tokens with: a user has said yes."""
        code, now = new_token("homc"), self.clock()
        row = rows.CodeRow(
            user_nid=user_nid,
            client_id=client.client_id,
            device_id=request.device_id,
            scope=request.scope,
            redirect_uri=request.redirect_uri,
            challenge=request.challenge,
            expires_ts=now + CODE_LIFETIME_MS,
        )
        async with self.database.transaction() as conn:
            await rows.delete_expired(conn, now)
            await rows.insert_code(conn, hash_token(code), row)
        return code

    async def grant(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """The answer of the token endpoint. Raises OAuthError."""
        client = await self.clients.find(asked.get("client_id", ""))
        kind = asked.get("grant_type", "")
        if kind not in (CODE, REFRESH, DEVICE_CODE):
            raise OAuthError("unsupported_grant_type", "There is no such grant type here")
        if kind not in client.metadata.grant_types:
            raise OAuthError("unauthorized_client", "This client did not register for this grant type")
        if kind == REFRESH:
            return await self._refresh(client, asked)
        if kind == DEVICE_CODE:
            granted = await self.device_codes.redeem(client.client_id, asked.get("device_code", ""))
        else:
            granted = await self._redeem(client, asked)
        opened = await self.sessions.open(
            await self._account(granted.user_nid), _wish(client, granted.device_id)
        )
        return _answer(opened, granted.scope)

    async def _redeem(self, client: OAuthClient, asked: Mapping[str, str]) -> Redeemed:
        """The code is good once [RFC 6749 section 4.1.2]."""
        async with self.database.transaction() as conn:
            found = await rows.spend_code(conn, hash_token(asked.get("code", "")))
        if found is None:
            raise _not_good()
        row, was_spent = found
        if was_spent:  # one of the two who brought it has stolen it: nobody shall profit
            await self.sessions.close(row.user_nid, row.device_id)
            raise _not_good()
        if row.client_id != client.client_id or row.redirect_uri != asked.get("redirect_uri"):
            raise _not_good()
        if row.expires_ts <= self.clock() or not verifies(asked.get("code_verifier", ""), row.challenge):
            raise _not_good()
        return Redeemed(row.user_nid, row.device_id, row.scope)

    async def _refresh(self, client: OAuthClient, asked: Mapping[str, str]) -> dict[str, Any]:
        token = asked.get("refresh_token", "")
        try:
            opened = await self.sessions.refresh(token, oauth_client=client.client_id)
        except MatrixError as refusal:
            await self.sessions.end_replayed(token, client.client_id)
            raise OAuthError("invalid_grant", refusal.message) from refusal
        return _answer(opened, f"{API} {DEVICE}{opened.device_id}")

    async def _account(self, user_nid: int) -> Account:
        async with self.database.read() as conn:
            account = await account_by_nid(conn, user_nid)
        if account is None or account.deactivated:
            raise OAuthError("invalid_grant", "This account has been deactivated")
        return account


def _wish(client: OAuthClient, device_id: str) -> DeviceWish:
    name = client.metadata.name
    return DeviceWish(device_id=device_id, display_name=name, refresh=True, oauth_client=client.client_id)


def _answer(opened: Opened, scope: str) -> dict[str, Any]:
    """[RFC 6749 section 5.1]"""
    grant = opened.grant
    answer: dict[str, Any] = {"access_token": grant.access_token, "token_type": "Bearer", "scope": scope}
    if grant.refresh_token is not None:
        answer["refresh_token"] = grant.refresh_token
    if grant.expires_in_ms is not None:
        answer["expires_in"] = grant.expires_in_ms // 1000
    return answer


def _not_good() -> OAuthError:
    return OAuthError(
        "invalid_grant", "This code is unknown, used, expired, or was not given to who brings it"
    )
