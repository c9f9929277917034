"""Pushers: whom to tell of a user's notifications outside of Matrix, and how far that has come."""

from collections.abc import Collection
from typing import Any

import orjson
from attrs import field, frozen

from storage.database import Connection

_COLUMNS = (
    "pusher_nid, user_nid, kind, app_id, pushkey, app_display_name, device_display_name, lang, profile_tag, data,"
    " position, created_ts, failures, retry_ts, failing_since, badge, last_success_ts, mails, token, token_until,"
    " token_told"
)


@frozen(kw_only=True)
class Wish:
    """A pusher as a client sets it up."""

    kind: str
    app_id: str
    pushkey: str
    app_display_name: str
    device_display_name: str
    lang: str
    profile_tag: str | None
    data: dict[str, Any]


@frozen
class Token:
    """Of web push: what the app must send back. Of mail: what ends it."""

    text: str = field(repr=False)
    until: int | None = None
    told: bool = False


@frozen(kw_only=True)
class Pusher:
    """A row of `pushers`. `position`: all up to there has been told; times are in milliseconds."""

    nid: int
    user_nid: int
    wish: Wish
    position: int
    created_ts: int
    failures: int = 0
    retry_ts: int = 0
    failing_since: int | None = None
    badge: int = 0
    last_success_ts: int | None = None
    mails: int = 0
    token: Token | None = None


@frozen(kw_only=True)
class Standing:
    """How far a pusher is, what unread count it has told, and what its last failure was, if it fails."""

    position: int
    badge: int
    failures: int = 0
    retry_ts: int = 0
    failing_since: int | None = None
    last_success_ts: int | None = None
    last_error: str | None = field(default=None, repr=False)


async def put(
    conn: Connection,
    owner: tuple[int, int | None],
    wish: Wish,
    now: tuple[int, int],
    *,
    token: Token | None = None,
) -> None:
    """Make or change a pusher of (user_nid, device_nid); `now` is (position of the clock, milliseconds)."""
    await conn.execute(
        """
        INSERT INTO pushers AS old (user_nid, device_nid, position, created_ts, kind, app_id, pushkey, app_display_name,
                                    device_display_name, lang, profile_tag, data, token, token_until)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
        ON CONFLICT (app_id, pushkey, user_nid) DO UPDATE
           SET device_nid = excluded.device_nid, kind = excluded.kind, app_display_name = excluded.app_display_name,
               device_display_name = excluded.device_display_name, lang = excluded.lang,
               profile_tag = excluded.profile_tag, data = excluded.data, created_ts = excluded.created_ts,
               token = excluded.token, token_until = excluded.token_until, token_told = false, mails = 0,
               failures = 0, retry_ts = 0, failing_since = NULL, last_error = NULL
        """,
        *owner,
        *now,
        wish.kind,
        wish.app_id,
        wish.pushkey,
        wish.app_display_name,
        wish.device_display_name,
        wish.lang,
        wish.profile_tag,
        orjson.dumps(wish.data).decode(),
        token.text if token else None,
        token.until if token else None,
    )


async def token_told(conn: Connection, nid: int, token: str) -> None:
    """Note that an app has been told this token."""
    await conn.execute(
        "UPDATE pushers SET token_told = true WHERE pusher_nid = $1 AND token = $2", nid, token
    )


async def activate(conn: Connection, nid: int, token: str, position: int) -> None:
    """The app has sent its token back: from here on it is told what comes."""
    await conn.execute(
        "UPDATE pushers SET token = NULL, position = $3 WHERE pusher_nid = $1 AND token = $2",
        nid,
        token,
        position,
    )


async def mailed(conn: Connection, nid: int, mails: int) -> None:
    """So many mails have been sent since the user has read something."""
    await conn.execute("UPDATE pushers SET mails = $2 WHERE pusher_nid = $1", nid, mails)


async def delete_one(conn: Connection, nid: int) -> None:
    await conn.execute("DELETE FROM pushers WHERE pusher_nid = $1", nid)


async def delete(conn: Connection, user_nid: int, app_id: str, pushkey: str) -> None:
    """Delete a user's pusher, if there is one."""
    await conn.execute(
        "DELETE FROM pushers WHERE user_nid = $1 AND app_id = $2 AND pushkey = $3", user_nid, app_id, pushkey
    )


async def delete_others(conn: Connection, user_nid: int, app_id: str, pushkey: str) -> None:
    """Delete what other users have under this app and key: the device has changed hands."""
    await conn.execute(
        "DELETE FROM pushers WHERE user_nid <> $1 AND app_id = $2 AND pushkey = $3", user_nid, app_id, pushkey
    )


async def delete_rejected(conn: Connection, app_id: str, pushkeys: Collection[str]) -> int:
    """Delete the pushers whose keys a gateway has refused; says how many."""
    done = await conn.execute(
        "DELETE FROM pushers WHERE app_id = $1 AND pushkey = ANY($2::text[])", app_id, list(pushkeys)
    )
    return int(done.split()[-1])


async def of_user(conn: Connection, user_nid: int) -> list[Pusher]:
    """A user's pushers, the oldest first."""
    rows = await conn.fetch(
        f"SELECT {_COLUMNS} FROM pushers WHERE user_nid = $1 ORDER BY pusher_nid",  # noqa: S608
        user_nid,
    )
    return [_pusher(row) for row in rows]


async def one(conn: Connection, nid: int) -> Pusher | None:
    """One pusher as it is now."""
    row = await conn.fetchrow(f"SELECT {_COLUMNS} FROM pushers WHERE pusher_nid = $1", nid)  # noqa: S608
    return None if row is None else _pusher(row)


async def concerned(
    conn: Connection, room_nids: Collection[int], user_nids: Collection[int]
) -> list[tuple[int, int]]:
    """(pusher_nid, room_nid) of those in the rooms; room 0 for the other users' pushers."""
    rows = await conn.fetch(
        """
        SELECT p.pusher_nid, m.room_nid
          FROM local_memberships m JOIN pushers p USING (user_nid)
         WHERE m.room_nid = ANY($1::int[]) AND m.membership = 1
        UNION ALL
        SELECT pusher_nid, 0 FROM pushers WHERE user_nid = ANY($2::int[])
        """,
        list(room_nids),
        list(user_nids),
    )
    return [(row[0], row[1]) for row in rows]


async def behind(conn: Connection, position: int) -> list[int]:
    """Pushers that may not have told everything up to a position."""
    rows = await conn.fetch("SELECT pusher_nid FROM pushers WHERE position < $1", position)
    return [row[0] for row in rows]


async def move(conn: Connection, nid: int, standing: Standing) -> None:
    """Note how far a pusher is."""
    await conn.execute(
        """
        UPDATE pushers SET position = greatest(position, $2), failures = $3, retry_ts = $4, failing_since = $5,
               last_success_ts = coalesce($6, last_success_ts), last_error = $7, badge = $8
         WHERE pusher_nid = $1
        """,
        nid,
        standing.position,
        standing.failures,
        standing.retry_ts,
        standing.failing_since,
        standing.last_success_ts,
        standing.last_error,
        standing.badge,
    )


async def caught_up(conn: Connection, position: int, busy: Collection[int]) -> None:
    """All pushers but the busy ones and those that fail have told everything up to a position."""
    await conn.execute(
        """
        UPDATE pushers SET position = $1
         WHERE position < $1 AND failures = 0 AND pusher_nid <> ALL($2::bigint[])
        """,
        position,
        list(busy),
    )


def _pusher(row: Any) -> Pusher:
    return Pusher(
        nid=row[0],
        user_nid=row[1],
        wish=Wish(
            kind=row[2],
            app_id=row[3],
            pushkey=row[4],
            app_display_name=row[5],
            device_display_name=row[6],
            lang=row[7],
            profile_tag=row[8],
            data=orjson.loads(row[9]),
        ),
        position=row[10],
        created_ts=row[11],
        failures=row[12],
        retry_ts=row[13],
        failing_since=row[14],
        badge=row[15],
        last_success_ts=row[16],
        mails=row[17],
        token=Token(row[18], row[19], row[20]) if row[18] is not None else None,
    )
