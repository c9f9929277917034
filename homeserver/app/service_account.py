"""Who runs the database when we are root: PostgreSQL refuses to, so a system account of its own does.

Nothing outside the data folder changes its owner or mode for this account; where it cannot look, paths are handed
to it as its working directory instead (see `postgres_stub`).
"""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from attrs import frozen

ACCOUNT_NAME = "homing-database"


class CannotCreateAccount(Exception):
    """Root could not create the account; the message says what the operator can do."""


@frozen
class ServiceAccount:
    """The numbers that processes and files of the database belong to."""

    uid: int
    gid: int

    def own(self, folder: Path) -> None:
        """Give an existing folder, without its content, to the account."""
        if os.geteuid() == 0:
            os.chown(folder, self.uid, self.gid)


def current_account() -> ServiceAccount:
    """Ourselves, or the system account when we are root."""
    if os.geteuid() != 0:
        return ServiceAccount(uid=os.geteuid(), gid=os.getegid())
    return _look_up() or _create()


def _look_up() -> ServiceAccount | None:
    try:
        entry = pwd.getpwnam(ACCOUNT_NAME)
    except KeyError:
        return None
    return ServiceAccount(uid=entry.pw_uid, gid=entry.pw_gid)


def _create() -> ServiceAccount:
    program = shutil.which("useradd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    remedy = "start the server as an ordinary user, or give it a database with --database-url"
    if program is None:
        raise CannotCreateAccount(f"there is no useradd to create the account {ACCOUNT_NAME}: {remedy}")
    command = [program, "--system", "--no-create-home", "--user-group", "--shell", "/bin/false", ACCOUNT_NAME]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    # Another start of ours may have been quicker: what counts is that the account is there.
    account = _look_up()
    if account is None:
        raise CannotCreateAccount(f"useradd failed ({done.stderr.strip()}): {remedy}")
    return account
