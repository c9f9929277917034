"""Rows of `thread_subscriptions`: which threads users want to hear of, or no longer do [MSC4306]."""

from typing import Any

from attrs import frozen

from storage.database import Connection

_COLUMNS = "s.position, r.room_id, s.thread_id, s.subscribed, s.automatic"


@frozen
class Thread:
    """A thread, as one user's."""

    user_nid: int
    room_nid: int
    root: str


@frozen
class Subscription:
    """What a user last wanted of a thread. Not `subscribed`: they wanted to hear no more, at `position`."""

    position: int
    room_id: str
    thread_id: str
    subscribed: bool
    automatic: bool


@frozen
class Window:
    """Changes after one place and before another; None: up to the latest."""

    after: int
    before: int | None
    limit: int
    ended: bool = True  # tell those that are over, too


async def find(conn: Connection, thread: Thread) -> Subscription | None:
    """What is kept of one thread."""
    row = await conn.fetchrow(
        f"""
        SELECT {_COLUMNS} FROM thread_subscriptions s JOIN rooms r USING (room_nid)
         WHERE user_nid = $1 AND room_nid = $2 AND thread_id = $3
        """,  # noqa: S608 (our own column names)
        thread.user_nid,
        thread.room_nid,
        thread.root,
    )
    return None if row is None else _subscription(row)


async def subscribe(conn: Connection, position: int, thread: Thread, cause: int | None) -> None:
    """Subscribe. Automatically (`cause` is where its cause stands): not if the user left after that."""
    await conn.execute(
        """
        INSERT INTO thread_subscriptions AS old (position, user_nid, room_nid, subscribed, automatic, thread_id)
        VALUES ($1, $2, $3, true, $5::bigint IS NOT NULL, $4)
            ON CONFLICT (user_nid, room_nid, thread_id) DO UPDATE
           SET position = excluded.position, subscribed = true, automatic = excluded.automatic
         WHERE CASE WHEN old.subscribed THEN old.automatic AND NOT excluded.automatic
                    ELSE NOT excluded.automatic OR old.position < $5 END
        """,
        position,
        thread.user_nid,
        thread.room_nid,
        thread.root,
        cause,
    )


async def unsubscribe(conn: Connection, position: int, thread: Thread) -> None:
    """End a subscription, if there is one."""
    await conn.execute(
        """
        UPDATE thread_subscriptions SET position = $1, subscribed = false
         WHERE user_nid = $2 AND room_nid = $3 AND thread_id = $4 AND subscribed
        """,
        position,
        thread.user_nid,
        thread.room_nid,
        thread.root,
    )


async def window(conn: Connection, user_nid: int, wanted: Window) -> list[Subscription]:
    """A user's changes, the latest first, and one more than wanted if there is one."""
    rows = await conn.fetch(
        f"""
        SELECT {_COLUMNS} FROM thread_subscriptions s JOIN rooms r USING (room_nid)
         WHERE user_nid = $1 AND position > $2 AND ($3::bigint IS NULL OR position < $3)
           AND (subscribed OR $5)
         ORDER BY position DESC LIMIT $4 + 1
        """,  # noqa: S608 (our own column names)
        user_nid,
        wanted.after,
        wanted.before,
        wanted.limit,
        wanted.ended,
    )
    return [_subscription(row) for row in rows]


async def subscribers(conn: Connection, room_nid: int, thread_id: str) -> frozenset[int]:
    """Who is subscribed to a thread."""
    rows = await conn.fetch(
        "SELECT user_nid FROM thread_subscriptions WHERE room_nid = $1 AND thread_id = $2 AND subscribed",
        room_nid,
        thread_id,
    )
    return frozenset(row[0] for row in rows)


async def delete_subscriptions(conn: Connection, user_nid: int) -> None:
    """The account is gone."""
    await conn.execute("DELETE FROM thread_subscriptions WHERE user_nid = $1", user_nid)


def _subscription(row: Any) -> Subscription:
    return Subscription(*row)
