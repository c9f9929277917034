"""Rows of `accounts`: who has an account here, and what it may do."""

from collections.abc import Iterable

from attrs import frozen

from storage.database import Connection

_COLUMNS = "user_nid, user_id, password_hash, admin, guest, deactivated, locked, suspended, appservice_id, created_ts"


@frozen(kw_only=True)
class Account:
    """An account of this server."""

    user_nid: int
    user_id: str
    password_hash: str | None
    admin: bool
    guest: bool
    deactivated: bool
    locked: bool
    suspended: bool
    appservice_id: str | None
    created_ts: int


async def insert_account(conn: Connection, account: Account, *, user_type: str | None = None) -> bool:
    """Add an account; False if there is one of that id already."""
    added = await conn.fetchval(
        """
        INSERT INTO accounts (user_nid, user_id, password_hash, created_ts, admin, guest, appservice_id, user_type)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
            ON CONFLICT DO NOTHING
        RETURNING user_nid
        """,
        account.user_nid,
        account.user_id,
        account.password_hash,
        account.created_ts,
        account.admin,
        account.guest,
        account.appservice_id,
        user_type,
    )
    return added is not None


async def upgrade_guest(conn: Connection, user_id: str, password_hash: str) -> Account | None:
    """A guest is one no longer; None: there is no such guest who may use the account."""
    row = await conn.fetchrow(
        f"""
        UPDATE accounts SET guest = false, password_hash = $2
         WHERE user_id = $1 AND guest AND NOT deactivated AND NOT locked AND NOT suspended
        RETURNING {_COLUMNS}
        """,  # noqa: S608 (our own column names)
        user_id,
        password_hash,
    )
    return None if row is None else Account(**dict(row.items()))


async def find_account(conn: Connection, user_ids: Iterable[str]) -> Account | None:
    """The account of the first of `user_ids` that has one."""
    wanted = list(user_ids)
    row = await conn.fetchrow(
        f"""
        SELECT {_COLUMNS} FROM accounts WHERE user_id = ANY($1)
         ORDER BY array_position($1, user_id) LIMIT 1
        """,  # noqa: S608 (our own column names)
        wanted,
    )
    return None if row is None else Account(**dict(row.items()))


async def account_by_nid(conn: Connection, user_nid: int) -> Account | None:
    """The account of a user's number."""
    row = await conn.fetchrow(
        f"SELECT {_COLUMNS} FROM accounts WHERE user_nid = $1",  # noqa: S608 (our own column names)
        user_nid,
    )
    return None if row is None else Account(**dict(row.items()))


async def set_password_hash(conn: Connection, user_nid: int, password_hash: str) -> None:
    """Keep a new hash of the account's password."""
    await conn.execute("UPDATE accounts SET password_hash = $2 WHERE user_nid = $1", user_nid, password_hash)


async def replace_password_hash(conn: Connection, user_nid: int, old: str, new: str) -> None:
    """The same password in a better form, unless it has been changed meanwhile."""
    await conn.execute(
        "UPDATE accounts SET password_hash = $3 WHERE user_nid = $1 AND password_hash = $2",
        user_nid,
        old,
        new,
    )


async def erased_among(conn: Connection, user_ids: Iterable[str]) -> set[str]:
    """Those of the users who wished, as they went, that who comes later does not see what they said."""
    rows = await conn.fetch(
        """
        SELECT k.state_key FROM state_keys k JOIN accounts a ON a.user_nid = k.key_nid
         WHERE k.type = 'm.room.member' AND k.state_key = ANY($1::text[]) AND a.erased
        """,
        list(user_ids),
    )
    return {row[0] for row in rows}


async def mark_deactivated(conn: Connection, user_nid: int, *, erase: bool) -> None:
    """The account can never be used again; what it wrote is hidden from those who come later if `erase`."""
    await conn.execute(
        """
        UPDATE accounts SET deactivated = true, password_hash = NULL, erased = erased OR $2
         WHERE user_nid = $1
        """,
        user_nid,
        erase,
    )


async def set_locked(conn: Connection, user_nid: int, *, locked: bool) -> None:
    """Whether the account can be used at all."""
    await conn.execute("UPDATE accounts SET locked = $2 WHERE user_nid = $1", user_nid, locked)


async def set_suspended(conn: Connection, user_nid: int, *, suspended: bool) -> None:
    """Whether the account can only be used for a few things."""
    await conn.execute("UPDATE accounts SET suspended = $2 WHERE user_nid = $1", user_nid, suspended)
