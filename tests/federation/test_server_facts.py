"""What the server tells other servers about itself."""

import tomllib
from pathlib import Path

from federation.protocol import key_responses
from homeserver.app.key_files import retired_keys, rotate_signing_key, signing_key
from homeserver.app.version import VERSION
from homeserver.services.now import now_ms
from tests.kit.server import SERVER_NAME, plain_config, running

ROOT = Path(__file__).parent.parent.parent


async def test_version(server):
    said = await server.anonymous().get("/_matrix/federation/v1/version")
    assert said == {"server": {"name": "Homing", "version": VERSION}}


def test_the_version_is_the_packages():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


async def test_keys(server):
    answer = await server.anonymous().ask("GET", "/_matrix/key/v2/server")
    published = key_responses.parse(answer.content, SERVER_NAME, now_ms())
    key = signing_key(server.config)
    assert published.keys[f"ed25519:{key.version}"].key == key.verify_key
    assert published.said["old_verify_keys"] == {}


async def test_keys_are_told_to_who_asks_for_one_of_them(server):
    ask = server.anonymous().get
    assert (await ask("/_matrix/key/v2/server/ed25519:any"))["verify_keys"] == (
        await ask("/_matrix/key/v2/server")
    )["verify_keys"]


async def test_keys_after_rotation(pg_url, tmp_path):
    config = plain_config(tmp_path)
    first, _ = rotate_signing_key(config, 1)
    second, third = rotate_signing_key(config, 2)
    async with running(pg_url, config) as server:
        said = await server.anonymous().get("/_matrix/key/v2/server")
    published = key_responses.check(said, SERVER_NAME, now_ms())
    assert set(said["verify_keys"]) == {f"ed25519:{third.version}"}
    old = {key.key: key.valid_until_ts for key in published.keys.values() if key.retired}
    assert old == {first.verify_key: 1, second.verify_key: 2}


def test_a_rotation_that_broke_off_can_be_repeated(tmp_path):
    config = plain_config(tmp_path)
    key = signing_key(config)
    kept = (tmp_path / "signing.key").read_text()
    rotate_signing_key(config, 1)
    (tmp_path / "signing.key").write_text(kept)  # as if it had ended before the new key was written
    said = key_responses.publish("a", key, retired_keys(config), 5)
    assert said["old_verify_keys"] == {}
    rotate_signing_key(config, 2)
    assert [old.expired_ts for old in retired_keys(config)] == [2]
