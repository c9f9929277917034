"""The embedded database: it starts, ends with its owner, and survives whatever ended it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from homeserver.app.embedded_postgres import DatabaseDidNotStart, EmbeddedPostgres
from homeserver.app.file_lock import FileLock, Held
from homeserver.app.postgres_binaries import copy_binaries, find_binaries
from homeserver.app.postgres_folder import PostgresFolder
from storage.database import connect_once

ROOT = Path(__file__).parent.parent.parent
OWNER = """
import sys, time
from pathlib import Path
from homeserver.app.embedded_postgres import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1]), report=print) as postgres:
    print(postgres.url, flush=True)
    time.sleep(600)
"""


def started(folder):
    return EmbeddedPostgres(folder, report=lambda text: None)


async def value(url, query, *arguments):
    conn = await connect_once(url)
    try:
        return await conn.fetchval(query, *arguments)
    finally:
        await conn.close()


def running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_new_cluster_is_fit_for_us(tmp_path):
    with started(tmp_path) as postgres:
        assert await value(postgres.url, "SHOW server_encoding") == "UTF8"
        assert (
            await value(postgres.url, "SELECT datcollate FROM pg_database WHERE datname = current_database()")
            == "C"
        )
        assert await value(postgres.url, "SHOW listen_addresses") == ""
        assert await value(postgres.url, "SHOW fsync") == "on"
        assert await value(postgres.url, "SHOW synchronous_commit") == "on"
        folder = PostgresFolder(data=tmp_path, major=find_binaries().major)
        for private in (folder.cluster, folder.socket):
            assert private.stat().st_mode & 0o077 == 0, private
        assert not postgres.ended()


async def test_data_stays_and_the_process_ends(tmp_path):
    with started(tmp_path) as postgres:
        pid = await value(postgres.url, "SELECT pg_backend_pid()")
        await value(postgres.url, "CREATE TABLE kept (n bigint)")
    assert not running(pid)
    assert not PostgresFolder(data=tmp_path, major=find_binaries().major).socket.exists()
    with started(tmp_path) as postgres:
        assert await value(postgres.url, "SELECT count(*) FROM kept") == 0


async def test_an_owner_that_is_killed_takes_the_database_along_and_loses_nothing(tmp_path):
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    url = next(line for line in owner.stdout if line.startswith("postgresql:")).strip()
    await value(url, "CREATE TABLE kept (n bigint)")
    await value(url, "INSERT INTO kept SELECT generate_series(1, 1000)")
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    with started(tmp_path) as postgres:  # waits until the other one has ended
        assert await value(postgres.url, "SELECT count(*) FROM kept") == 1000


async def test_a_database_that_is_killed_recovers_despite_its_stale_pid_file(tmp_path):
    with started(tmp_path) as postgres:
        folder = PostgresFolder(data=tmp_path, major=find_binaries().major)
        await value(postgres.url, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
        pid_file = folder.cluster / "postmaster.pid"
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)
        deadline = time.monotonic() + 30
        while not postgres.ended():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    # Another process may have got the number meanwhile: here, we have it.
    lines = pid_file.read_text().splitlines(keepends=True)
    pid_file.write_text("".join([f"{os.getpid()}\n", *lines[1:]]))
    with started(tmp_path) as postgres:
        assert await value(postgres.url, "SELECT count(*) FROM kept") == 1000


def test_half_a_cluster_is_made_again(tmp_path):
    folder = PostgresFolder(data=tmp_path, major=find_binaries().major)
    folder.draft.mkdir()
    (folder.draft / "PG_VERSION").write_text("18\n")
    with started(tmp_path):
        assert folder.cluster.exists()
        assert not folder.draft.exists()


def test_a_cluster_of_another_major_version_is_left_alone(tmp_path):
    (tmp_path / "pg12").mkdir()
    (tmp_path / "pg12" / "PG_VERSION").write_text("12\n")
    with pytest.raises(DatabaseDidNotStart, match=r"another PostgreSQL version .*pg12.* docs/operations\.md"):
        started(tmp_path).start()


def test_a_setting_that_postgres_refuses_is_told(tmp_path):
    with pytest.raises(DatabaseDidNotStart, match="shared_buffers"):
        EmbeddedPostgres(tmp_path, report=print, settings={"shared_buffers": "much"}).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the database to another account")
def test_root_hands_the_database_to_an_account_below_a_private_folder(tmp_path):
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    with started(private / "data"):
        folder = PostgresFolder(data=private / "data", major=find_binaries().major)
        assert folder.cluster.stat().st_uid != 0
    assert private.stat().st_mode & 0o777 == 0o700


def test_copied_binaries_run(tmp_path):
    binaries = find_binaries()
    copied = copy_binaries(binaries, tmp_path)
    assert copied == copy_binaries(binaries, tmp_path)
    assert copied.folder.is_relative_to(tmp_path)
    for program in (copied.initdb, copied.postgres):
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        assert binaries.version in done.stdout


def test_a_lock_is_exclusive_and_ends_with_its_last_holder(tmp_path):
    path = tmp_path / "lock"
    lock = FileLock.take(path)
    with pytest.raises(Held):
        FileLock.take(path)
    heir = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock.fd,))
    lock.release()
    with pytest.raises(Held):
        FileLock.take(path)
    heir.communicate(b"\n")
    FileLock.take(path).release()
