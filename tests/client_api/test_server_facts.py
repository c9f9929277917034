"""What the server says about itself, and what clients ask every server at their start."""

from attrs import evolve

from homeserver.app import config as options
from homeserver.core.room_versions import ROOM_VERSIONS
from tests.kit.server import plain_config, running


async def test_versions(server):
    answer = await server.anonymous().get("/_matrix/client/versions")
    assert answer["versions"][0] == "r0.6.1"
    assert answer["versions"][-1] == "v1.19"


async def test_capabilities(server):
    alice = await server.register()
    capabilities = (await alice.get("/v3/capabilities"))["capabilities"]
    assert capabilities["m.room_versions"]["default"] in capabilities["m.room_versions"]["available"]
    assert set(capabilities["m.room_versions"]["available"]) == set(ROOM_VERSIONS)


async def test_nothing_is_well_known_until_the_operator_says_so(server):
    for place in ("client", "server", "support"):
        refusal = await server.anonymous().refused("GET", f"/.well-known/matrix/{place}")
        assert refusal == (404, "M_NOT_FOUND")
    assert "well_known" not in await server.anonymous().post(
        "/v3/register", {"password": "long enough", "auth": {"type": "m.login.dummy"}}
    )


async def test_what_is_well_known(pg_url, tmp_path):
    config = plain_config(tmp_path)
    contact = options.Contact(matrix_id="@admin:localhost")
    well_known = options.WellKnown(
        client_base_url="https://matrix.example.org",
        server="matrix.example.org:443",
        support_page="https://example.org/help",
        contacts=[contact],
    )
    async with running(pg_url, evolve(config, well_known=well_known)) as server:
        client = server.anonymous()
        base = {"m.homeserver": {"base_url": "https://matrix.example.org"}}
        assert await client.get("/.well-known/matrix/client") == base
        assert await client.get("/.well-known/matrix/server") == {"m.server": "matrix.example.org:443"}
        assert await client.get("/.well-known/matrix/support") == {
            "contacts": [{"role": "m.role.admin", "matrix_id": "@admin:localhost"}],
            "support_page": "https://example.org/help",
        }


async def test_what_clients_ask_at_their_start(server):
    alice = await server.register()
    assert await alice.refused("GET", "/v3/voip/turnServer") == (404, "M_NOT_FOUND")
    assert await alice.get("/v3/thirdparty/protocols") == {}
    assert await alice.get("/v3/pushers") == {"pushers": []}
    assert await alice.get("/v3/notifications") == {"notifications": []}
    assert await alice.refused("GET", "/v3/thirdparty/protocol/irc") == (404, "M_NOT_FOUND")


async def test_openid(server):
    alice, eve = await server.register(), await server.register()
    path = f"/v3/user/{alice.user_id}/openid/request_token"
    answer = await alice.post(path)
    assert (answer["token_type"], answer["matrix_server_name"]) == ("Bearer", "localhost")
    assert await eve.refused("POST", path, {}) == (403, "M_FORBIDDEN")
    stranger = server.anonymous()
    stranger.token = answer["access_token"]  # it proves who somebody is, and opens nothing
    assert await stranger.refused("GET", "/v3/account/whoami") == (401, "M_UNKNOWN_TOKEN")
