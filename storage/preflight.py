"""Refuses a database that would lose or corrupt data, and says which command repairs it.

Run before anything else touches the database. Each check looks at one thing; all that is wrong is told at once.
"""

from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

import asyncpg
from attrs import frozen

from storage.database import Connection, connect_once

OLDEST_SERVER = 15


@frozen
class Fault:
    """One thing that is wrong, and the command or step that puts it right."""

    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.problem}\n  {self.remedy}"


class DatabaseRefused(Exception):
    """The database cannot be used as it is."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = tuple(faults)


@frozen
class _Facts:
    database: str
    user: str
    encoding: str
    collate: str
    ctype: str
    provider: str


async def connect_checked(url: str) -> asyncpg.Connection:
    """A connection to a database that passed every check; `DatabaseRefused` otherwise."""
    conn = await _connect(url)
    try:
        if faults := await check(conn):
            raise DatabaseRefused(faults)
    except BaseException:
        await conn.close()
        raise
    return conn


async def check(conn: Connection) -> list[Fault]:
    """Everything that is wrong with this database, except its schema's version (see `storage.migrate`)."""
    facts = await _facts(conn)
    server = await _server_faults(conn)
    return [*server, *_locale_faults(facts), *await _right_faults(conn, facts)]


async def _connect(url: str) -> asyncpg.Connection:
    try:
        return await connect_once(url)
    except asyncpg.InvalidCatalogNameError as cause:
        name = _database_name(url)
        problem = f"the database {name!r} does not exist"
        raise DatabaseRefused([Fault(problem, "create it: " + _createdb(name, _user_name(url)))]) from cause
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError) as cause:
        problem = f"PostgreSQL does not let us in: {cause}"
        raise DatabaseRefused([Fault(problem, "correct user and password in the database URL")]) from cause
    except (asyncpg.ClientConfigurationError, ValueError) as cause:
        form = "postgresql://USER:PASSWORD@HOST/DATABASE"
        raise DatabaseRefused(
            [Fault(f"the database URL cannot be read: {cause}", f"write it as {form}")]
        ) from cause
    except asyncpg.InsufficientPrivilegeError as cause:
        name, user = _database_name(url), _user_name(url)
        remedy = f'as its owner or a superuser: GRANT CONNECT ON DATABASE "{name}" TO "{user}";'
        raise DatabaseRefused([Fault(f"PostgreSQL does not let us in: {cause}", remedy)]) from cause
    except (OSError, TimeoutError, asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError) as cause:
        problem = f"PostgreSQL cannot be reached: {cause or 'no answer in time'}"
        raise DatabaseRefused(
            [Fault(problem, "start it, or correct host and port in the database URL")]
        ) from cause


async def _facts(conn: Connection) -> _Facts:
    row = await conn.fetchrow(
        """
        SELECT datname, current_user AS user_name, pg_encoding_to_char(encoding) AS encoding,
               datcollate, datctype, datlocprovider::text AS provider
          FROM pg_database
         WHERE datname = current_database()
        """
    )
    assert row is not None
    return _Facts(
        database=row["datname"],
        user=row["user_name"],
        encoding=row["encoding"],
        collate=row["datcollate"],
        ctype=row["datctype"],
        provider=row["provider"],
    )


async def _server_faults(conn: Connection) -> list[Fault]:
    version, replica, read_only = await _server(conn)
    faults = []
    if version < OLDEST_SERVER:
        problem = f"PostgreSQL {version} is too old"
        faults.append(Fault(problem, f"upgrade it to version {OLDEST_SERVER} or later (pg_upgrade)"))
    if replica:
        faults.append(Fault("this PostgreSQL is a replica", "name the primary in the database URL"))
    elif read_only:
        remedy = (
            "ALTER DATABASE … RESET default_transaction_read_only; (the same for ROLE or SYSTEM if set there)"
        )
        faults.append(Fault("this database refuses all writes (default_transaction_read_only)", remedy))
    return faults


async def _server(conn: Connection) -> tuple[int, bool, bool]:
    row = await conn.fetchrow(
        """
        SELECT current_setting('server_version_num')::integer / 10000 AS version,
               pg_is_in_recovery() AS replica,
               current_setting('default_transaction_read_only') = 'on' AS read_only
        """
    )
    assert row is not None
    return row["version"], row["replica"], row["read_only"]


def _locale_faults(facts: _Facts) -> list[Fault]:
    remedy = (
        f"create another one: {_createdb(facts.database + '_c', facts.user)}; if this one holds data, copy it: "
        f"pg_dump {facts.database} | psql {facts.database}_c"
    )
    faults = []
    if facts.encoding != "UTF8":
        faults.append(
            Fault(f"the database {facts.database!r} has the encoding {facts.encoding}, not UTF8", remedy)
        )
    # Any other order may change when the system's library is upgraded, and then indexes miss rows.
    c_order = {facts.collate, facts.ctype} <= {"C", "POSIX"}
    if facts.provider != "c" or not c_order:
        order = f"{facts.collate} / {facts.ctype}" + {"i": " (ICU)", "b": " (builtin)"}.get(
            facts.provider, ""
        )
        faults.append(Fault(f"the database {facts.database!r} sorts by {order}, not by C", remedy))
    return faults


async def _right_faults(conn: Connection, facts: _Facts) -> list[Fault]:
    schema = await conn.fetchval("SELECT current_schema()")
    if schema is None or not await conn.fetchval("SELECT has_schema_privilege($1, 'CREATE')", schema):
        remedy = f'as its owner or a superuser: ALTER DATABASE "{facts.database}" OWNER TO "{facts.user}"; '
        remedy += f'GRANT USAGE, CREATE ON SCHEMA "{schema or "public"}" TO "{facts.user}";'
        return [Fault(f"the user {facts.user!r} may not create tables in {facts.database!r}", remedy)]
    strangers = await conn.fetch(
        """
        SELECT DISTINCT pg_get_userbyid(relowner) AS owner
          FROM pg_class
         WHERE relnamespace = $1::regnamespace AND relkind IN ('r', 'p')
           AND NOT pg_has_role(relowner, 'USAGE')
         ORDER BY owner
        """,
        f'"{schema}"',
    )
    return [
        Fault(
            f"tables in {facts.database!r} belong to {row['owner']!r}; {facts.user!r} can neither use nor alter them",
            f'as a superuser, in that database: REASSIGN OWNED BY "{row["owner"]}" TO "{facts.user}";',
        )
        for row in strangers
    ]


def _createdb(name: str, user: str) -> str:
    return f"createdb --template=template0 --encoding=UTF8 --locale=C --owner={user} {name}"


def _database_name(url: str) -> str:
    return unquote(urlsplit(url).path.lstrip("/")) or _user_name(url)


def _user_name(url: str) -> str:
    return unquote(urlsplit(url).username or "homing")
