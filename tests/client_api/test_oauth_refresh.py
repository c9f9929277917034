"""Refresh tokens of OAuth 2.0: exchanged, lost on the way, used twice [cs "Refresh token grant"] [RFC 9700 4.14]."""

import asyncio

import pytest
from structlog.testing import capture_logs

from tests.kit.oauth import Application, scope, visitor
from tests.kit.server import Client


async def test_tokens_are_refreshed_and_revoked(oauth):
    await oauth.register("alice")
    app = await Application.of(oauth)
    first = (await app.log_in(visitor(oauth), "alice")).json
    refreshed = await app.post(
        "token_endpoint", grant_type="refresh_token", refresh_token=first["refresh_token"]
    )
    # The answer may have been lost: the old one is good until the new one is used.
    refreshed = await app.post(
        "token_endpoint", grant_type="refresh_token", refresh_token=first["refresh_token"]
    )
    client = app.client(refreshed)
    assert refreshed.json["scope"] == scope("AAABBBCCCDDD")
    await client.get("/v3/account/whoami")
    old = Client(oauth.url, oauth.http, token=first["access_token"])
    assert await old.refused("GET", "/v3/account/whoami") == (401, "M_UNKNOWN_TOKEN")
    # It is not good for another client, or as if it were none of OAuth's.
    other = await Application.of(oauth, client_name="Other")
    stolen = await other.post(
        "token_endpoint", grant_type="refresh_token", refresh_token=refreshed.json["refresh_token"]
    )
    assert stolen.json["error"] == "invalid_grant"
    legacy = {"refresh_token": refreshed.json["refresh_token"]}
    assert (await oauth.anonymous().refused("POST", "/v3/refresh", legacy))[1] == "M_UNKNOWN_TOKEN"
    for _ in range(2):
        assert (await app.post("revocation_endpoint", token=refreshed.json["refresh_token"])).status == 200
    assert await client.refused("GET", "/v3/account/whoami") == (401, "M_UNKNOWN_TOKEN")


async def lines(oauth):
    """An application of Alice's that is logged in, how it refreshes, and how one sees whether tokens are good."""
    await oauth.register("alice")
    app = await Application.of(oauth)

    async def refresh(tokens):
        given = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        return (await app.post("token_endpoint", **given)).json

    async def status(tokens):
        return (await Client(oauth.url, oauth.http, token=tokens["access_token"]).ask("GET", WHOAMI)).status

    return (await app.log_in(visitor(oauth), "alice")).json, refresh, status


WHOAMI = "/v3/account/whoami"


@pytest.mark.parametrize("used", ["its access token", "its refresh token"])
async def test_a_refresh_token_that_comes_again_ends_the_session(oauth, used):
    """[RFC 9700 4.14.2]"""
    first, refresh, status = await lines(oauth)
    second = await refresh(first)
    latest = second
    if used == "its access token":
        assert await status(second) == 200
    else:
        latest = await refresh(second)
    with capture_logs() as told:
        assert (await refresh(first))["error"] == "invalid_grant"
    [warning] = [each for each in told if each["log_level"] == "warning"]
    assert (warning["user"], warning["device"]) == ("@alice:localhost", "AAABBBCCCDDD")
    assert [await status(each) for each in (second, latest)] == [401, 401]
    assert (await refresh(latest))["error"] == "invalid_grant"
    async with oauth.database.read() as conn:
        assert await conn.fetchval("SELECT count(*) FROM devices WHERE device_id = 'AAABBBCCCDDD'") == 0


async def test_lost_answers_end_no_session(oauth):
    first, refresh, status = await lines(oauth)
    lost = await refresh(first)
    found = await refresh(first)
    assert (await refresh(lost))["error"] == "invalid_grant"  # never used: the client just did not get it
    assert await status(found) == 200
    assert await status(await refresh(found)) == 200


async def test_refreshes_at_once_leave_one_line_and_end_no_session(oauth):
    first, refresh, status = await lines(oauth)
    answers = await asyncio.gather(*[refresh(first) for _ in range(4)])
    assert sorted([await status(each) for each in answers]) == [200, 401, 401, 401]
    [good] = [each for each in answers if await status(each) == 200]
    for each in answers:
        if each is not good:
            assert (await refresh(each))["error"] == "invalid_grant"
    assert await status(await refresh(good)) == 200


async def test_old_and_new_refresh_tokens_at_once(oauth):
    """Each of them wants what the other holds; whoever is first wins, and both are answered."""
    first, refresh, status = await lines(oauth)
    for _ in range(5):
        second = await refresh(first)
        by_old, by_new = await asyncio.gather(refresh(first), refresh(second))
        if "access_token" in by_new:  # so the old one came too late
            assert by_old["error"] == "invalid_grant"
            assert await status(by_new) == 401
            break
        assert by_new["error"] == "invalid_grant"
        assert await status(second) == 401
        first = by_old


@pytest.mark.parametrize(
    "change", [".", ".x", ".1", ".1.", ".99.x", ".²2.x", f".{10**18}.x", "\u00e9", ".1.2.3"]
)
async def test_refresh_tokens_that_nobody_made(oauth, change):
    first, refresh, status = await lines(oauth)
    for token in (f"homr_{change}", first["refresh_token"] + change):
        assert (await refresh({"refresh_token": token}))["error"] == "invalid_grant"
    assert await status(first) == 200
