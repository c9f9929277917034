"""Which database a command works on: the configured one, the running server's, or one started for the purpose."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from attrs import frozen

from homeserver.app.config import Config
from homeserver.app.embedded_postgres import SETTINGS, DatabaseDidNotStart, EmbeddedPostgres
from homeserver.app.file_lock import FileLock, Held
from homeserver.app.options import Failure
from homeserver.app.postgres_binaries import NoBinaries, find_binaries
from homeserver.app.postgres_folder import PostgresFolder
from homeserver.app.service_account import CannotCreateAccount

Report = Callable[[str], None]


@frozen
class DatabasePlace:
    """Where the database is, and whether we would know if it ended."""

    url: str
    embedded: EmbeddedPostgres | None = None

    def ended(self) -> bool:
        return self.embedded is not None and self.embedded.ended()


@contextmanager
def sole_server(config: Config) -> Iterator[None]:
    """Nobody else may serve from this data folder meanwhile."""
    try:
        lock = _lock(config)
    except Held as cause:
        raise Failure(f"another server is running with the data folder {config.server.folder}") from cause
    with lock:
        yield


@contextmanager
def server_database(config: Config, report: Report) -> Iterator[DatabasePlace]:
    """The database of a server that holds the folder (`sole_server`)."""
    if config.database.url:
        yield DatabasePlace(config.database.url)
        return
    settings = {**SETTINGS, "shared_buffers": config.database.shared_buffers}
    postgres = EmbeddedPostgres(config.server.folder, report=report, settings=settings)
    try:
        postgres.start()
        yield DatabasePlace(postgres.url, postgres)
    except (DatabaseDidNotStart, NoBinaries, CannotCreateAccount) as cause:
        raise Failure(str(cause)) from cause
    finally:
        postgres.stop()


@contextmanager
def any_database(config: Config, report: Report) -> Iterator[DatabasePlace]:
    """The same for a command, which may also borrow the database of a running server."""
    if config.database.url:
        yield DatabasePlace(config.database.url)
        return
    try:
        lock = _lock(config)
    except Held:
        yield DatabasePlace(PostgresFolder(config.server.folder, find_binaries().major).url)
        return
    with lock, server_database(config, report) as place:
        yield place


def _lock(config: Config) -> FileLock:
    folder = config.server.folder
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return FileLock.take(folder / "lock")
    except OSError as cause:
        raise Failure(f"the data folder {folder} cannot be used: {cause.strerror}") from cause
