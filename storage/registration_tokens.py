"""Rows of `registration_tokens`: who was given one may register [cs "Token-authenticated registration"]."""

from attrs import frozen

from storage.database import Connection

_VALID = (
    "(expires_ts IS NULL OR expires_ts > $2) AND (uses_allowed IS NULL OR pending + completed < uses_allowed)"
)


async def insert_token(
    conn: Connection, token: str, *, uses_allowed: int | None, expires_ts: int | None
) -> bool:
    """A new token; False if it exists."""
    added = await conn.fetchval(
        """
        INSERT INTO registration_tokens (token, uses_allowed, expires_ts) VALUES ($1, $2, $3)
            ON CONFLICT DO NOTHING RETURNING token
        """,
        token,
        uses_allowed,
        expires_ts,
    )
    return added is not None


async def is_valid(conn: Connection, token: str, now: int) -> bool:
    """Could somebody register with this token now?"""
    valid: bool = await conn.fetchval(
        f"SELECT EXISTS (SELECT FROM registration_tokens WHERE token = $1 AND {_VALID})",  # noqa: S608 (ours)
        token,
        now,
    )
    return valid


async def use_token(conn: Connection, token: str, now: int) -> bool:
    """Count one registration, in the transaction that adds the account; False if the token is used up."""
    used = await conn.fetchval(
        f"""
        UPDATE registration_tokens SET completed = completed + 1 WHERE token = $1 AND {_VALID}
        RETURNING token
        """,  # noqa: S608 (ours)
        token,
        now,
    )
    return used is not None


@frozen
class RegistrationToken:
    """A token as an operator sees it."""

    token: str
    uses_allowed: int | None
    completed: int
    expires_ts: int | None


async def all_tokens(conn: Connection) -> list[RegistrationToken]:
    """Every token, used up and expired ones too."""
    rows = await conn.fetch(
        "SELECT token, uses_allowed, completed, expires_ts FROM registration_tokens ORDER BY token"
    )
    return [RegistrationToken(*row) for row in rows]


async def delete_token(conn: Connection, token: str) -> bool:
    """End a token; False if there was none."""
    found = await conn.fetchval("DELETE FROM registration_tokens WHERE token = $1 RETURNING token", token)
    return found is not None
