"""What the suites tell us becomes a configuration that the server takes."""

import tomllib
from pathlib import Path

from homeserver.app.config_file import build_config, read_config
from sytest_compat.complement import start
from sytest_compat.settings import as_toml, for_tests, write_settings
from sytest_compat.sytest import launch

TOLD = {
    "server_name": "127.0.0.1:18100",
    "public_baseurl": "http://127.0.0.1:18101",
    "listen": "127.0.0.1:18101",
    "federation_listen": "127.0.0.1:18100",
    "folder": "/srv/sytest/server-0/data",
    "log": "/srv/sytest/server-0/homeserver.log",
    "tls_certificate": "/srv/sytest/server-0/tls.crt",
    "tls_key": "/srv/sytest/server-0/tls.key",
    "federation_ca": "/sytest/keys/ca.crt",
    "database_url": "",
    "smtp": {"host": "127.0.0.1", "port": 2525},
    "recaptcha": {"siteverify_api": "http://127.0.0.1/x", "public_key": "a", "private_key": "b"},
    "cas": {"server_url": "http://127.0.0.1/cas"},
    "app_service_files": ["/srv/sytest/server-0/appserv-0.yaml"],
}


def test_sytest():
    config = build_config(launch.configuration(TOLD))
    assert (config.server.name, config.federation.listen) == ("127.0.0.1:18100", "127.0.0.1:18100")
    assert config.registration.open
    assert not config.rate_limits.enabled
    assert [one.url for one in config.sso.providers] == ["http://127.0.0.1/cas"]


def test_complement():
    sections = start.configuration(
        "hs1", Path("/data"), ca=Path("/complement/ca"), client="0.0.0.0:8008", server="0.0.0.0:8448"
    )
    config = build_config(sections)
    assert config.server.public_baseurl == "http://hs1:8008"
    assert config.federation.certificate_authorities == "/complement/ca/ca.crt"


def test_the_file_says_the_same(tmp_path):
    sections = for_tests(
        {"server": {"name": 'a"b', "data": str(tmp_path)}, "passwords": {"minimum_length": 3}}
    )
    sections["sso"] = {"providers": [{"id": "a", "new_accounts": False}]}
    assert tomllib.loads(as_toml(sections)) == sections
    del sections["sso"]
    sections["server"]["name"] = "example.org"
    config = read_config(write_settings(tmp_path, sections, "secret"))
    assert (config.server.name, config.passwords.minimum_length) == ("example.org", 3)
    assert (tmp_path / "registration_secret").read_text() == "secret"
    assert (tmp_path / "registration_secret").stat().st_mode & 0o077 == 0
