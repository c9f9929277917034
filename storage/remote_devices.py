"""Copies of the devices of other servers' users: `remote_device_lists` says how good a copy is, `remote_devices` is it.

A copy is good for as long as its user has shared a room with us without a break since it was fetched: only then are we
told of changes.
"""

from collections.abc import Iterable, Sequence

from attrs import frozen

from storage.database import Connection

NOT_YET = -1


@frozen
class RemoteList:
    """What a copy is as of."""

    user_nid: int
    stream_id: int
    stale: bool
    position: int  # of the fetch, or of the update that it lacks; 0: neither was there yet


@frozen
class RemoteDevice:
    """A device in a copy; `json` has no unsigned."""

    user_nid: int
    device_id: str
    display_name: str | None
    json: str


async def lists(conn: Connection, user_nids: Iterable[int]) -> dict[int, RemoteList]:
    """The copies that there are."""
    rows = await conn.fetch(
        "SELECT user_nid, stream_id, stale, position FROM remote_device_lists WHERE user_nid = ANY($1::int[])",
        list(user_nids),
    )
    return {row[0]: RemoteList(*row) for row in rows}


async def good(conn: Connection, user_nids: Iterable[int]) -> set[int]:
    """The users whose copies are not stale, and who have been in a room with one of us ever since."""
    rows = await conn.fetch(
        """
        SELECT l.user_nid FROM remote_device_lists l
         WHERE l.user_nid = ANY($1::int[]) AND NOT l.stale
           AND EXISTS (SELECT 1 FROM current_state c
                         JOIN events e ON e.event_nid = c.event_nid
                        WHERE c.key_nid = l.user_nid AND c.membership = 1
                          AND coalesce(e.position, 0) <= l.position
                          AND EXISTS (SELECT 1 FROM local_memberships m
                                       WHERE m.room_nid = c.room_nid AND m.membership = 1
                                         AND m.position <= l.position))
        """,
        list(user_nids),
    )
    return {row[0] for row in rows}


async def in_sight(conn: Connection, user_nids: Iterable[int]) -> set[int]:
    """The users who are in a room with one of us."""
    rows = await conn.fetch(
        """
        SELECT n FROM unnest($1::int[]) AS n
         WHERE EXISTS (SELECT 1 FROM current_state c
                        WHERE c.key_nid = n AND c.membership = 1
                          AND EXISTS (SELECT 1 FROM local_memberships m
                                       WHERE m.room_nid = c.room_nid AND m.membership = 1))
        """,
        list(user_nids),
    )
    return {row[0] for row in rows}


async def devices(conn: Connection, user_nids: Iterable[int]) -> list[RemoteDevice]:
    """The devices in copies, good or not."""
    rows = await conn.fetch(
        """
        SELECT user_nid, device_id, display_name, json FROM remote_devices
         WHERE user_nid = ANY($1::int[]) ORDER BY user_nid, device_id
        """,
        list(user_nids),
    )
    return [RemoteDevice(*row) for row in rows]


async def want(conn: Connection, user_nids: Sequence[int]) -> None:
    """Copies of these users are to be fetched."""
    await conn.execute(
        """
        INSERT INTO remote_device_lists (user_nid, stream_id, position, stale)
        SELECT n, -1, 0, true FROM unnest($1::int[]) AS n
            ON CONFLICT (user_nid) DO UPDATE SET stale = true WHERE NOT remote_device_lists.stale
        """,
        user_nids,
    )


async def mark_stale(conn: Connection, user_nid: int, position: int) -> None:
    """An update is missing from a copy, as was heard at `position`: what is fetched before then does not have it."""
    await conn.execute(
        "UPDATE remote_device_lists SET stale = true, position = $2 WHERE user_nid = $1", user_nid, position
    )


async def wanted(conn: Connection, limit: int, beside: Iterable[int]) -> list[int]:
    """Users whose copies are to be fetched, but for some."""
    rows = await conn.fetch(
        """
        SELECT user_nid FROM remote_device_lists
         WHERE stale AND user_nid <> ALL($2::int[]) ORDER BY user_nid LIMIT $1
        """,
        limit,
        list(beside),
    )
    return [row[0] for row in rows]


async def step(conn: Connection, user_nid: int, stream_id: int) -> None:
    """The copy is as of the next update."""
    await conn.execute(
        "UPDATE remote_device_lists SET stream_id = $2 WHERE user_nid = $1", user_nid, stream_id
    )


async def put_device(conn: Connection, device: RemoteDevice) -> None:
    """A device in a copy is new or another one."""
    await conn.execute(
        """
        INSERT INTO remote_devices (user_nid, device_id, display_name, json) VALUES ($1, $2, $3, $4)
            ON CONFLICT (user_nid, device_id) DO UPDATE
           SET display_name = excluded.display_name, json = excluded.json
        """,
        device.user_nid,
        device.device_id,
        device.display_name,
        device.json,
    )


async def delete_device(conn: Connection, user_nid: int, device_id: str) -> None:
    """A device in a copy is gone."""
    await conn.execute(
        "DELETE FROM remote_devices WHERE user_nid = $1 AND device_id = $2", user_nid, device_id
    )


async def replace(
    conn: Connection, user_nid: int, as_of: tuple[int, int], found: Sequence[RemoteDevice]
) -> bool:
    """A whole new copy, as of (stream_id, position); is it stale, as an update was missed since that position?"""
    stale: bool = await conn.fetchval(
        """
        INSERT INTO remote_device_lists AS l (user_nid, stream_id, position, stale) VALUES ($1, $2, $3, false)
            ON CONFLICT (user_nid) DO UPDATE
           SET stream_id = excluded.stream_id, position = greatest(l.position, excluded.position),
               stale = l.stale AND l.position > excluded.position
        RETURNING stale
        """,
        user_nid,
        *as_of,
    )
    await conn.execute("DELETE FROM remote_devices WHERE user_nid = $1", user_nid)
    await conn.execute(
        """
        INSERT INTO remote_devices (user_nid, device_id, display_name, json)
        SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[])
        """,
        user_nid,
        [device.device_id for device in found],
        [device.display_name for device in found],
        [device.json for device in found],
    )
    return stale


async def forget(conn: Connection, user_nids: Sequence[int]) -> None:
    """Nobody here shares a room with these users: copies would only grow old."""
    await conn.execute("DELETE FROM remote_devices WHERE user_nid = ANY($1::int[])", user_nids)
    await conn.execute("DELETE FROM remote_device_lists WHERE user_nid = ANY($1::int[])", user_nids)
    await conn.execute("DELETE FROM cross_signing_keys WHERE user_nid = ANY($1::int[])", user_nids)
