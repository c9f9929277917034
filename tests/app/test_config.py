"""One definition of the configuration: what files are accepted, and what is told about those that are not."""

import tomllib
from pathlib import Path

import attrs
import pytest

from homeserver.app import config_docs
from homeserver.app.config import Bucket, Config, Contact
from homeserver.app.config_file import ConfigFaults, build_config, parse_config, read_config
from homeserver.app.config_sso import Sso, SsoProvider

ROOT = Path(__file__).parent.parent.parent


def faults(text):
    with pytest.raises(ConfigFaults) as caught:
        parse_config(text)
    return caught.value.faults


@pytest.mark.parametrize(
    ("path", "made"), [("homeserver.sample.toml", config_docs.sample), ("docs/config.md", config_docs.page)]
)
def test_generated_files_are_current(path, made):
    assert (ROOT / path).read_text() == made(), "run: make docs"


def test_an_empty_file_is_all_defaults():
    assert parse_config("") == Config()


def test_the_sample_is_all_defaults():
    assert parse_config(config_docs.sample()) == Config()


def test_the_sample_with_every_option_uncommented_is_good():
    lines = config_docs.sample().splitlines()
    options = [
        line.removeprefix("# ") if line.startswith("# ") and ("= " in line or "[[" in line) else line
        for line in lines
    ]
    config = parse_config("\n".join(options))
    assert config == attrs.evolve(
        Config(),
        well_known=attrs.evolve(Config().well_known, contacts=[Contact()]),
        sso=Sso(providers=[SsoProvider()]),
    )
    tree = tomllib.loads("\n".join(options))
    for section in attrs.fields(Config):
        assert set(tree[section.name]) == {option.name for option in attrs.fields(section.type)}


def test_options_are_read():
    config = parse_config(
        """
        [server]
        name = "example.org"
        [rate_limits]
        message = { per_second = 5 }
        [[well_known.contacts]]
        role = "m.role.security"
        email_address = "security@example.org"
        """
    )
    assert config.server.name == "example.org"
    assert config.rate_limits.message == Bucket(per_second=5.0, burst=50)  # the rest of the default stays
    assert config.well_known.contacts == [
        Contact(role="m.role.security", email_address="security@example.org")
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[sever]", "sever: no such option; did you mean server?"),
        ("[server]\nnmae = 'x'", "server.nmae: no such option; did you mean name?"),
        ("[metrics]\nzzz = 1", "metrics.zzz: no such option; there are enabled"),
        ("[server]\nname = 7", "server.name: must be a string, and is 7"),
        ("[server]\nname = 'https://x'", "server.name: must be a host name, without scheme"),
        ("[server]\nlisten = '8008'", "server.listen: must be HOST:PORT"),
        ("[server]\nlisten = 'x:99999'", "server.listen: must be HOST:PORT"),
        ("[server]\npublic_baseurl = 'example.org'", "server.public_baseurl: must be an http or https URL"),
        ("[database]\nwriters = true", "database.writers: must be a whole number, and is True"),
        ("[database]\nwriters = 1", "database.writers: must be at least 2, and is 1"),
        ("[registration]\nopen = 'no'", "registration.open: must be true or false, and is 'no'"),
        ("[rooms]\ndefault_version = '99'", "rooms.default_version: must be one of 1, 2"),
        ("[logging]\nlevel = 'loud'", "logging.level: must be one of 'debug', 'info'"),
        ("[rate_limits]\nmessage = 3", "rate_limits.message: must be a table, and is 3"),
        ("[rate_limits]\nmessage = { burst = 0 }", "rate_limits.message.burst: must be at least 1"),
        ("[well_known]\ncontacts = 3", "well_known.contacts: must be a list, and is 3"),
        ("[[well_known.contacts]]\nrole = 'x'", "well_known.contacts[0].role: must be one of"),
        ("server = 3", "server: must be a table, and is 3"),
        ("server", "not TOML:"),
    ],
)
def test_faults_name_the_option_and_the_way_out(text, fault):
    (found,) = faults(text)
    assert found.startswith(fault)


def test_all_faults_are_told_at_once():
    found = faults("[server]\nname = 7\nlistn = 'x:1'\n[database]\nreaders = 'many'\n[cache]\n")
    assert [line.partition(":")[0] for line in found] == [
        "server.name",
        "server.listn",
        "database.readers",
        "cache",
    ]


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigFaults, match="cannot be read: No such file"):
        read_config(tmp_path / "missing.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    with pytest.raises(ConfigFaults, match="not UTF-8"):
        read_config(tmp_path / "latin.toml")


def test_login_services_need_what_makes_them_usable():
    for provider, complaint in (
        ({"url": "https://x.example"}, "an id of its own"),
        ({"id": "a", "kind": "cas"}, "a url"),
        ({"id": "a", "url": "https://x.example"}, "a client_id"),
        ({"id": "a b"}, "letters, digits"),
        ({"id": "a", "url": "https://x.example/?a=b"}, "without a query"),
        ({"id": "a", "icon": "https://x.example/i.png"}, "an mxc URI"),
    ):
        with pytest.raises(ConfigFaults, match=complaint):
            build_config({"sso": {"providers": [provider]}})
    with pytest.raises(ConfigFaults, match="URLs of clients"):
        build_config({"sso": {"clients": ["javascript:x"]}})
