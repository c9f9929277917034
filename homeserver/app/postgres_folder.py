"""Where an embedded database lies: its folders, its socket, its address."""

import hashlib
import os
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from attrs import frozen

from homeserver.app.service_account import ServiceAccount, current_account

USER = "homing"
DATABASE = "homing"
# A socket's address has room for 107 bytes; the file is called `.s.PGSQL.5432`.
_LONGEST_SOCKET_FOLDER = 90


@frozen
class PostgresFolder:
    """The parts of a data folder that belong to the database of one major version.

    A cluster is never opened by another major version: each has its own folder.
    """

    data: Path
    major: int

    @property
    def cluster(self) -> Path:
        return self.data / f"pg{self.major}"

    @property
    def draft(self) -> Path:
        """Where a new cluster grows; half of one is never taken for a whole."""
        return self.data / f"pg{self.major}.new"

    @property
    def lock(self) -> Path:
        return self.data / f"pg{self.major}.lock"

    @property
    def startup_log(self) -> Path:
        return self.data / f"pg{self.major}.startup.log"

    @property
    def socket(self) -> Path:
        """Beside the cluster; in a runtime folder when that path is too long, or private to root."""
        beside = self.data / "socket"
        if os.geteuid() != 0 and len(os.fsencode(beside)) <= _LONGEST_SOCKET_FOLDER:
            return beside
        name = hashlib.sha256(os.fsencode(self.cluster)).hexdigest()[:16]
        return _runtime_folder() / f"homing-{os.geteuid()}-{name}"

    @property
    def url(self) -> str:
        return f"postgresql://{USER}@/{DATABASE}?host={quote(str(self.socket), safe='')}"

    def others(self) -> list[Path]:
        """Clusters of other major versions."""
        found = self.data.glob("pg*/PG_VERSION")
        return sorted(version.parent for version in found if version.parent not in (self.cluster, self.draft))

    def account(self) -> ServiceAccount:
        """Who the database runs as: whoever owns it already, so that root and its user may take turns."""
        if os.geteuid() == 0 and self.cluster.exists():
            owner = self.cluster.stat()
            if owner.st_uid != 0:
                return ServiceAccount(uid=owner.st_uid, gid=owner.st_gid)
        return current_account()


def as_argument(folder: Path) -> str:
    """How a PostgreSQL program that was started in `folder` is told of it.

    The account that root hands the database to may be unable to walk there (a private home above it), but it
    may use its working directory.
    """
    if os.geteuid() == 0 and sys.platform == "linux":
        return "/proc/self/cwd"
    return str(folder)


def _runtime_folder() -> Path:
    named = Path(os.environ.get("XDG_RUNTIME_DIR", "/run" if os.geteuid() == 0 else "/nonexistent"))
    if os.geteuid() == 0:
        named = Path("/run")  # a user's own runtime folder is closed to the account of the database
    return named if os.access(named, os.W_OK) else Path(tempfile.gettempdir())
