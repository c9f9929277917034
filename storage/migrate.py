"""Brings a database to today's schema: `schema.sql` at once when it is empty, else one numbered file after another.

A number, once released, is never edited: its checksum stands in the database. All of it runs under one lock, so any
number of processes may start together.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import field, frozen

from storage.database import Connection

FOLDER = Path(__file__).parent
SCHEMA = FOLDER / "schema.sql"
_LOCK = 0x486F6D696E67  # "Homing"; any number that nobody else takes
_VERSIONS = """
    CREATE TABLE IF NOT EXISTS schema_version (
        number     integer     PRIMARY KEY,
        name       text        NOT NULL,
        checksum   text        NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    );
    COMMENT ON TABLE schema_version IS 'Which numbered changes this database has had, each as it was when it ran.';
"""


class SchemaRefused(Exception):
    """The database's schema does not belong to this version; the message says what to do."""


@frozen
class Migration:
    """One numbered change."""

    number: int
    name: str
    sql: str = field(repr=False)

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def read_migrations(folder: Path = FOLDER / "migrations") -> list[Migration]:
    """The files `NNNN_what.sql`, in order; numbers start at 1 and have no gap."""
    found = [_read(path) for path in sorted(folder.glob("*.sql"))]
    numbers = [migration.number for migration in found]
    if numbers != list(range(1, len(found) + 1)):
        raise SchemaRefused(f"the migrations in this installation are not numbered 1, 2, 3 …: {numbers}")
    return found


def _read(path: Path) -> Migration:
    match = re.fullmatch(r"(\d{4})_(\w+)", path.stem)
    if match is None:
        raise SchemaRefused(f"{path.name} is not called NNNN_what.sql")
    return Migration(number=int(match[1]), name=match[2], sql=path.read_text())


async def migrate(
    conn: Connection, *, report: Callable[[str], None], migrations: Sequence[Migration] | None = None
) -> int:
    """Apply what is missing; the number of changes that ran (0: all was there)."""
    known = read_migrations() if migrations is None else list(migrations)
    await conn.execute("SELECT pg_advisory_lock($1)", _LOCK)
    try:
        return await _bring_up(conn, known, report)
    finally:
        await conn.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def pending(conn: Connection) -> list[Migration]:
    """What `migrate` would do; refuses a schema that is newer than we are, or not ours."""
    known = read_migrations()
    if not await _has_versions(conn):
        return known
    return _missing(known, await _applied(conn))


async def _bring_up(conn: Connection, known: list[Migration], report: Callable[[str], None]) -> int:
    if not await _has_versions(conn):
        report("creating the tables")
        await _create(conn, known)
        return len(known)
    missing = _missing(known, await _applied(conn))
    for migration in missing:
        report(f"changing the tables: {migration.number:04} {migration.name}")
        async with conn.transaction():
            await conn.execute(migration.sql)
            await _record(conn, [migration])
    return len(missing)


async def _create(conn: Connection, known: list[Migration]) -> None:
    async with conn.transaction():
        await conn.execute(_VERSIONS)
        await conn.execute(SCHEMA.read_text())
        await _record(conn, known)


async def apply_from_nothing(conn: Connection, known: Sequence[Migration]) -> None:
    """The long road: every migration in turn. Must lead where `schema.sql` leads."""
    async with conn.transaction():
        await conn.execute(_VERSIONS)
        for migration in known:
            await conn.execute(migration.sql)
        await _record(conn, known)


async def _has_versions(conn: Connection) -> bool:
    return await conn.fetchval("SELECT to_regclass('schema_version') IS NOT NULL") is True


async def _applied(conn: Connection) -> dict[int, tuple[str, str]]:
    rows = await conn.fetch("SELECT number, name, checksum FROM schema_version ORDER BY number")
    return {row["number"]: (row["name"], row["checksum"]) for row in rows}


async def _record(conn: Connection, migrations: Sequence[Migration]) -> None:
    await conn.execute(
        """
        INSERT INTO schema_version (number, name, checksum)
        SELECT * FROM unnest($1::integer[], $2::text[], $3::text[])
        """,
        [migration.number for migration in migrations],
        [migration.name for migration in migrations],
        [migration.checksum for migration in migrations],
    )


def _missing(known: Sequence[Migration], applied: dict[int, tuple[str, str]]) -> list[Migration]:
    """What is still to do, if all that was done is something we know."""
    newest = max(applied, default=0)
    if newest > len(known):
        raise SchemaRefused(
            f"the database has schema {newest} ({applied[newest][0]}), this version of Homing knows {len(known)}: "
            "install the version that last ran on it, or restore the backup made before that one"
        )
    for migration in known:
        name, checksum = applied.get(migration.number, (migration.name, migration.checksum))
        if (name, checksum) != (migration.name, migration.checksum):
            raise SchemaRefused(
                f"change {migration.number:04} ran on this database as {name!r} with another content than this "
                "version has: the database was made by an unreleased version; create a new one, or restore a backup"
            )
    return [migration for migration in known if migration.number not in applied]
