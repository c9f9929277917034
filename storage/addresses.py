"""Rows about addresses: how users can be reached outside of Matrix, and who has proved what."""

from attrs import frozen

from storage.database import Connection

DAY = 24 * 60 * 60 * 1000  # milliseconds


@frozen
class Address:
    """A confirmed address of an account."""

    medium: str
    address: str
    validated_ts: int
    added_ts: int


@frozen(kw_only=True)
class Validation:
    """A question whether an address is somebody's, and the answer if there is one."""

    sid: str
    created_ts: int
    validated_ts: int | None
    send_attempt: int
    secret_hash: bytes
    token_hash: bytes
    purpose: str
    medium: str
    address: str
    next_link: str | None


_VALIDATION = (
    "sid, created_ts, validated_ts, send_attempt, secret_hash, token_hash, purpose, medium, address, "
    "next_link"
)


async def addresses_of(conn: Connection, user_nid: int) -> list[Address]:
    """The addresses of an account."""
    rows = await conn.fetch(
        """
        SELECT medium, address, validated_ts, added_ts FROM user_addresses
         WHERE user_nid = $1 ORDER BY added_ts, address
        """,
        user_nid,
    )
    return [Address(*row) for row in rows]


async def owner_of(conn: Connection, medium: str, address: str) -> str | None:
    """The id of the account that has an address."""
    user_id: str | None = await conn.fetchval(
        """
        SELECT a.user_id FROM user_addresses u JOIN accounts a USING (user_nid)
         WHERE u.medium = $1 AND u.address = $2 AND NOT a.deactivated
        """,
        medium,
        address,
    )
    return user_id


async def add_address(conn: Connection, user_nid: int, address: Address) -> bool:
    """The address is the account's from now on; False where it is another account's."""
    owner = await conn.fetchval(
        """
        INSERT INTO user_addresses AS old (user_nid, validated_ts, added_ts, medium, address)
        VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (address, medium) DO UPDATE SET validated_ts = excluded.validated_ts
         WHERE old.user_nid = excluded.user_nid
        RETURNING user_nid
        """,
        user_nid,
        address.validated_ts,
        address.added_ts,
        address.medium,
        address.address,
    )
    return owner is not None


async def remove_address(conn: Connection, user_nid: int, medium: str, address: str) -> None:
    """The address is no longer the account's, if it was."""
    await conn.execute(
        "DELETE FROM user_addresses WHERE user_nid = $1 AND medium = $2 AND address = $3",
        user_nid,
        medium,
        address,
    )


async def remove_addresses(conn: Connection, user_nid: int) -> None:
    """The account has none any more."""
    await conn.execute("DELETE FROM user_addresses WHERE user_nid = $1", user_nid)


async def put_validation(conn: Connection, new: Validation) -> tuple[str, bool]:
    """Ask; gives the session's id, and whether a mail is due: not for an attempt that has been made already."""
    await conn.execute("DELETE FROM address_validations WHERE created_ts < $1", new.created_ts - DAY)
    row = await conn.fetchrow(
        """
        INSERT INTO address_validations AS old (sid, created_ts, send_attempt, secret_hash, token_hash, purpose,
                                                medium, address, next_link)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
            ON CONFLICT (address, medium, purpose, secret_hash)
            DO UPDATE SET send_attempt = excluded.send_attempt, token_hash = excluded.token_hash,
                          next_link = excluded.next_link, mails = old.mails + 1
             WHERE old.send_attempt < excluded.send_attempt
        RETURNING sid
        """,
        new.sid,
        new.created_ts,
        new.send_attempt,
        new.secret_hash,
        new.token_hash,
        new.purpose,
        new.medium,
        new.address,
        new.next_link,
    )
    if row is not None:
        return row[0], True
    sid: str = await conn.fetchval(
        """
        SELECT sid FROM address_validations
         WHERE address = $1 AND medium = $2 AND purpose = $3 AND secret_hash = $4
        """,
        new.address,
        new.medium,
        new.purpose,
        new.secret_hash,
    )
    return sid, False


async def mails_lately(conn: Connection, medium: str, address: str, after: int) -> int:
    """How often an address was asked since a time."""
    count: int = await conn.fetchval(
        """
        SELECT coalesce(sum(mails), 0) FROM address_validations
         WHERE medium = $1 AND address = $2 AND created_ts > $3
        """,
        medium,
        address,
        after,
    )
    return count


async def find_validation(conn: Connection, sid: str) -> Validation | None:
    """A session by its id."""
    row = await conn.fetchrow(
        f"SELECT {_VALIDATION} FROM address_validations WHERE sid = $1",  # noqa: S608 (our own column names)
        sid,
    )
    return None if row is None else Validation(**dict(row.items()))


async def mark_validated(conn: Connection, sid: str, now: int) -> None:
    """The address is theirs."""
    await conn.execute(
        "UPDATE address_validations SET validated_ts = coalesce(validated_ts, $2) WHERE sid = $1", sid, now
    )


async def end_validation(conn: Connection, sid: str) -> bool:
    """The session has done its work; False where it had before."""
    gone = await conn.fetchval("DELETE FROM address_validations WHERE sid = $1 RETURNING sid", sid)
    return gone is not None


async def add_binding(conn: Connection, user_nid: int, medium: str, address: str, id_server: str) -> None:
    """An identity server knows a user by an address, through us."""
    await conn.execute(
        """
        INSERT INTO address_bindings (user_nid, medium, address, id_server) VALUES ($1, $2, $3, $4)
            ON CONFLICT DO NOTHING
        """,
        user_nid,
        medium,
        address,
        id_server,
    )


async def bindings(
    conn: Connection, user_nid: int, medium: str | None = None, address: str | None = None
) -> list[tuple[str, str, str]]:
    """(medium, address, identity server) of a user, of one address or of all."""
    rows = await conn.fetch(
        """
        SELECT medium, address, id_server FROM address_bindings
         WHERE user_nid = $1 AND ($2::text IS NULL OR medium = $2) AND ($3::text IS NULL OR address = $3)
        """,
        user_nid,
        medium,
        address,
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def remove_binding(conn: Connection, user_nid: int, medium: str, address: str, id_server: str) -> None:
    """The identity server does not know it any more."""
    await conn.execute(
        """
        DELETE FROM address_bindings
         WHERE user_nid = $1 AND medium = $2 AND address = $3 AND id_server = $4
        """,
        user_nid,
        medium,
        address,
        id_server,
    )


async def accept_terms(conn: Connection, user_nid: int, version: str, now: int) -> None:
    """An account has agreed to a version of the terms."""
    await conn.execute(
        "INSERT INTO accepted_terms (user_nid, version, accepted_ts) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        user_nid,
        version,
        now,
    )
