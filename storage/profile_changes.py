"""Rows of `profile_changes`: when each field of a profile last changed, also of those that are no more."""

from collections.abc import Collection, Iterable, Sequence

from attrs import frozen

from storage.database import Connection

MAX_GONE = 500  # fields of a user that are no more: of older ones nobody hears


@frozen
class Field:
    """A field as it is now. `value`: JSON; None: it is not there."""

    user_nid: int
    name: str
    value: str | None


@frozen
class Crowd:
    """The reader if `own`, everybody in some rooms, and those of `some` users who are in one of the `shared` rooms."""

    whole: Collection[int]
    some: Collection[int]
    shared: Sequence[int]
    own: bool = False


async def note(conn: Connection, position: int, user_nid: int, name: str) -> None:
    """The field has been set or removed."""
    await conn.execute(
        """
        INSERT INTO profile_changes (position, user_nid, field) VALUES ($1, $2, $3)
            ON CONFLICT (user_nid, field) DO UPDATE SET position = excluded.position
        """,
        position,
        user_nid,
        name,
    )


async def forget_oldest_gone(conn: Connection, user_nid: int) -> None:
    """Fields may be set and removed without end: remember the last ones."""
    await conn.execute(
        """
        DELETE FROM profile_changes WHERE user_nid = $1 AND field = ANY (ARRAY(
            SELECT c.field FROM profile_changes c LEFT JOIN profiles p USING (user_nid, field)
             WHERE c.user_nid = $1 AND p.value IS NULL
             ORDER BY c.position DESC OFFSET $2))
        """,
        user_nid,
        MAX_GONE,
    )


async def since(
    conn: Connection, user_nid: int, shared: Sequence[int], position: int, names: Collection[str] | None
) -> list[Field]:
    """What changed after `position`, of the user and of ours who are in one of the rooms; `names` None: any field."""
    rows = await conn.fetch(
        """
        SELECT c.user_nid, c.field, p.value
          FROM profile_changes c LEFT JOIN profiles p USING (user_nid, field)
         WHERE c.position > $3 AND ($4::text[] IS NULL OR c.field = ANY($4))
           AND (c.user_nid = $1
                OR EXISTS (SELECT FROM local_memberships m WHERE m.user_nid = c.user_nid AND m.membership = 1
                                                             AND m.room_nid = ANY($2::int[])))
        """,
        user_nid,
        shared,
        position,
        _list(names),
    )
    return [Field(*row) for row in rows]


async def of_crowd(
    conn: Connection, user_nid: int, crowd: Crowd, names: Collection[str] | None, *, gone: bool
) -> list[Field]:
    """The fields of all these users, as far as they are ours; `gone`: also that fields have been removed."""
    rows = await conn.fetch(
        """
        WITH crowd AS (
            SELECT $1::int AS user_nid WHERE $2
             UNION SELECT user_nid FROM local_memberships WHERE membership = 1 AND room_nid = ANY($3::int[])
             UNION SELECT user_nid FROM local_memberships WHERE membership = 1 AND user_nid = ANY($4::int[])
                                                            AND room_nid = ANY($5::int[])
        )
        SELECT user_nid, field, value FROM crowd JOIN profiles USING (user_nid)
         WHERE $6::text[] IS NULL OR field = ANY($6)
         UNION ALL
        SELECT user_nid, field, NULL FROM crowd JOIN profile_changes c USING (user_nid)
         WHERE $7 AND ($6 IS NULL OR field = ANY($6))
           AND NOT EXISTS (SELECT FROM profiles p WHERE p.user_nid = c.user_nid AND p.field = c.field)
        """,
        user_nid,
        crowd.own,
        list(crowd.whole),
        list(crowd.some),
        crowd.shared,
        _list(names),
        gone,
    )
    return [Field(*row) for row in rows]


def _list(names: Iterable[str] | None) -> list[str] | None:
    return None if names is None else list(names)
