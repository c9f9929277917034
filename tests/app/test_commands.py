"""The command line: what operators type, and what they are told."""

import asyncio
import json
import stat
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from click.testing import CliRunner

from homeserver.app.config import Config
from homeserver.app.config_commands import config_group
from homeserver.app.config_docs import sample
from homeserver.app.database_commands import connection_variables, db_group
from homeserver.app.database_place import sole_server
from homeserver.app.key_commands import keys_group
from homeserver.app.key_files import UnusableKeyFile, registration_secret, retired_keys, signing_key
from homeserver.app.options import Failure, Place, checked
from homeserver.app.running import announced, local_url, running_url
from homeserver.app.token_commands import token_group
from homeserver.app.user_commands import user_group


def call(group, *arguments, **more):
    return CliRunner().invoke(
        group, [str(argument) for argument in arguments], env={"DATABASE_URL": None}, **more
    )


def config_in(folder):
    return Place(data=str(folder)).load()


class Admin(BaseHTTPRequestHandler):
    """The admin interface as another implementation would have it: HMAC-SHA1 over the fields, NUL between."""

    secret = "s3cret"

    def do_GET(self):
        self.answer(200, {"nonce": "n0nce"})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        if body["username"] == "taken":
            self.answer(400, {"errcode": "M_USER_IN_USE", "error": "User ID already taken."})
        else:
            self.answer(200, {"user_id": f"@{body['username']}:localhost"})

    def answer(self, status, body):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *arguments):
        pass


@pytest.fixture
def admin():
    server = HTTPServer(("127.0.0.1", 0), Admin)
    server.bodies = []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def data(tmp_path):
    (tmp_path / "registration_secret").write_text("s3cret\n")
    return tmp_path


def test_an_account_is_made_with_proof_of_the_secret(admin, data):
    done = call(
        user_group, "create", "alice", "--data", data, "--url", admin.url, "--password", "wonder", "--admin"
    )
    assert done.output == "@alice:localhost can log in now\n"
    (body,) = admin.bodies
    # HMAC-SHA1 of "n0nce\0alice\0wonder\0admin" with the key "s3cret", computed with openssl.
    assert body["mac"] == "d0043cca09c8f4d683f7e576807caa9cd5137b2c"
    assert body["admin"] is True


def test_the_password_is_asked_for(admin, data):
    arguments = ["create", "alice", "--data", data, "--url", admin.url]
    assert call(user_group, *arguments, input="wonder\nwonder\n").exit_code == 0
    assert admin.bodies[0]["password"] == "wonder"


def test_the_servers_refusal_is_told(admin, data):
    done = call(user_group, "create", "taken", "--data", data, "--url", admin.url, "--password", "x")
    assert done.exit_code == 1
    assert "the server refused: User ID already taken." in done.output


def test_no_server(data, unused_tcp_port):
    url = f"http://127.0.0.1:{unused_tcp_port}"
    done = call(user_group, "create", "alice", "--data", data, "--url", url, "--password", "x")
    assert "is it running?" in done.output


def test_no_secret_yet(tmp_path):
    done = call(user_group, "create", "alice", "--data", tmp_path, "--password", "x")
    assert "start the server first" in done.output


def test_the_running_server_is_found(tmp_path):
    config = config_in(tmp_path)
    assert running_url(tmp_path) is None
    with announced(config):
        assert running_url(tmp_path) == "http://127.0.0.1:8008"
    assert running_url(tmp_path) is None


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:8008", "http://127.0.0.1:8008"),
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        ("[::]:8008", "http://[::1]:8008"),
        ("matrix.example.org:8008", "http://matrix.example.org:8008"),
    ],
)
def test_local_url(listen, url):
    assert local_url(listen) == url


def test_config_sample_and_check(tmp_path):
    file = tmp_path / "homeserver.toml"
    file.write_text(call(config_group, "sample").output)
    assert file.read_text() == sample()
    assert "is good" in call(config_group, "check", file).output
    file.write_text("[server]\nnmae = 'x'\n")
    done = call(config_group, "check", file)
    assert done.exit_code == 1
    assert "did you mean name?" in done.output


def test_the_command_line_wins_over_the_file_in_the_data_folder(tmp_path):
    (tmp_path / "homeserver.toml").write_text(
        "[database]\nurl = 'postgresql://a/b'\n[server]\nname = 'example.org'\n"
    )
    config = Place(data=str(tmp_path), database_url="postgresql://c/d").load()
    assert (config.server.name, config.database.url) == ("example.org", "postgresql://c/d")
    assert config.server.folder == tmp_path


def test_what_the_command_line_says_is_checked():
    config = Place().load()
    assert checked(config) == config
    bad = Config(server=type(config.server)(name="no name", listen="nowhere"))
    with pytest.raises(Failure, match=r"server.name: (.|\n)*server.listen: "):
        checked(bad)


def test_db_check_and_migrate(postgres, tmp_path):
    url = asyncio.run(postgres.empty())
    place = ["--data", tmp_path, "--database-url", url]
    assert "due: 0001 initial" in call(db_group, "check", *place).output
    assert "changes made" in call(db_group, "migrate", *place).output
    assert call(db_group, "migrate", *place).output == "the tables are up to date\n"
    assert call(db_group, "check", *place).output == "the database is good\n"
    asyncio.run(postgres.drop(url))


def test_db_check_tells_the_remedy(postgres, tmp_path):
    url = asyncio.run(postgres.empty("TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'"))
    done = call(db_group, "check", "--data", tmp_path, "--database-url", url)
    assert done.exit_code == 1
    assert "createdb" in done.output
    asyncio.run(postgres.drop(url))


def test_db_commands_start_the_embedded_database_when_no_server_runs(tmp_path):
    place = ["--data", tmp_path / "data"]
    assert call(db_group, "migrate", *place).exit_code == 0
    assert call(db_group, "check", *place).output.endswith("the database is good\n")
    query = "INSERT INTO server_identity (server_name) VALUES ('example.org')"
    assert call(db_group, "exec", *place, "psql", "-c", query).exit_code == 0
    dump = ["--format=custom", f"--file={tmp_path / 'dump'}"]
    assert call(db_group, "exec", *place, "pg_dump", *dump).exit_code == 0
    # As docs/operations.md moves a database to another major version.
    restore = ["--clean", "--if-exists", "--no-owner", "--dbname=homing", tmp_path / "dump"]
    assert call(db_group, "exec", "--data", tmp_path / "new", "pg_restore", *restore).exit_code == 0
    assert call(db_group, "check", "--data", tmp_path / "new").output.endswith("the database is good\n")
    check = "SELECT 1 / count(*) FROM server_identity"
    assert call(db_group, "exec", "--data", tmp_path / "new", "psql", "-c", check).exit_code == 0
    assert "no program nonsense" in call(db_group, "exec", *place, "nonsense").output


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        (
            "postgresql://homing@/homing?host=%2Frun%2Fx",
            {"PGUSER": "homing", "PGDATABASE": "homing", "PGHOST": "/run/x"},
        ),
        (
            "postgresql://a:b%40c@db.example.org:5433/d?sslmode=require",
            {
                "PGHOST": "db.example.org",
                "PGPORT": "5433",
                "PGUSER": "a",
                "PGPASSWORD": "b@c",
                "PGDATABASE": "d",
                "PGSSLMODE": "require",
            },
        ),
    ],
)
def test_connection_variables(url, variables):
    assert connection_variables(url) == variables


def test_keys_are_made_once_and_private(tmp_path):
    config = config_in(tmp_path)
    key, secret = signing_key(config), registration_secret(config)
    assert key.alg == "ed25519"
    assert signing_key(config).encode() == key.encode()
    assert signing_key(config).version == key.version
    assert registration_secret(config) == secret
    for name in ("signing.key", "registration_secret"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["registration_secret", "signing.key"]


@pytest.mark.parametrize("text", ["", "ed25519\n", "ed25519 a_1 !!!\n", "nonsense a b\n"])
def test_a_broken_signing_key_is_refused_and_kept(tmp_path, text):
    (tmp_path / "signing.key").write_text(text)
    with pytest.raises(UnusableKeyFile, match=r"signing\.key"):
        signing_key(config_in(tmp_path))
    assert (tmp_path / "signing.key").read_text() == text


def test_keys_are_rotated_while_the_server_stands_still(tmp_path):
    config = config_in(tmp_path)
    old = signing_key(config)
    with sole_server(config):
        refused = call(keys_group, "rotate", "--data", tmp_path)
    assert "another server is running" in refused.output
    assert (signing_key(config).version, retired_keys(config)) == (old.version, [])

    done = call(keys_group, "rotate", "--data", tmp_path)
    assert (
        done.output
        == f"ed25519:{old.version} is retired, ed25519:{signing_key(config).version} signs from now on\n"
    )
    assert [key.key for key in retired_keys(config)] == [old.verify_key]
    assert stat.S_IMODE((tmp_path / "retired.keys").stat().st_mode) == 0o600


@pytest.mark.parametrize("line", ["ed25519 a_1", "ed25519 a_1 !!! 5", "ed25519 a_1 AAAA 5", "rsa a_1 AAAA 5"])
def test_a_broken_file_of_retired_keys_is_refused(tmp_path, line):
    (tmp_path / "retired.keys").write_text(line + "\n")
    with pytest.raises(UnusableKeyFile, match=r"retired\.keys"):
        retired_keys(config_in(tmp_path))


def test_registration_tokens_are_made_listed_and_ended(pg_url):
    def token(*arguments):
        return call(token_group, *arguments, "--database-url", pg_url)

    assert token("create", "tea", "--uses", 2, "--days", 1).output == "tea\n"
    assert "already" in token("create", "tea").output
    assert len(token("create").output.strip()) == 16
    assert "tea  0 of 2 used, until " in token("list").output
    assert token("delete", "tea").exit_code == 0
    assert "no token tea" in token("delete", "tea").output
    assert "up to 64 letters" in token("create", "a b").output
