"""Changes of our users' devices, for other servers: the last one of each device, and how far each server has got.

No copies of them wait for a server: what it is to get is what follows its bookmark, as it is when it is sent.
[ss "Device Management"]
"""

from collections.abc import Iterable, Sequence

from attrs import frozen

from storage.database import Connection

CROSS_SIGNING = ""  # the device that stands for a user's cross-signing keys
Place = tuple[int, int]  # position, stream_id


@frozen
class DeviceUpdate:
    """The last change of a device. `json`: its keys now, if it has any."""

    position: int
    stream_id: int
    user_nid: int
    device_id: str
    deleted: bool
    json: str | None

    @property
    def place(self) -> Place:
        """Where it stands among all updates."""
        return self.position, self.stream_id


async def record(conn: Connection, position: int, user_nid: int, device_ids: Iterable[str]) -> None:
    """These devices have changed, or come or gone; in this order. One that never had keys is nobody's affair."""
    await conn.execute(
        """
        INSERT INTO device_updates (position, stream_id, user_nid, device_id)
        SELECT $1,
               coalesce((SELECT max(stream_id) FROM device_updates WHERE user_nid = $2), 0)
                   + row_number() OVER (ORDER BY number),
               $2, device_id
          FROM unnest($3::text[]) WITH ORDINALITY AS n(device_id, number)
         WHERE EXISTS (SELECT 1 FROM device_updates u WHERE u.user_nid = $2 AND u.device_id = n.device_id)
            OR EXISTS (SELECT 1 FROM devices d JOIN device_keys k USING (device_nid)
                        WHERE d.user_nid = $2 AND d.device_id = n.device_id)
            ON CONFLICT (user_nid, device_id) DO UPDATE
           SET position = excluded.position, stream_id = excluded.stream_id
        """,
        position,
        user_nid,
        list(dict.fromkeys(device_ids)),
    )


async def record_cross_signing(conn: Connection, position: int, user_nid: int) -> None:
    """The user's master or self-signing key is another one, or has another signature."""
    await conn.execute(
        """
        INSERT INTO device_updates (position, stream_id, user_nid, device_id) VALUES ($1, 0, $2, '')
            ON CONFLICT (user_nid, device_id) DO UPDATE SET position = excluded.position
        """,
        position,
        user_nid,
    )


async def stream_id(conn: Connection, user_nid: int) -> int:
    """How many changes of a user's devices there were."""
    found: int | None = await conn.fetchval(
        "SELECT max(stream_id) FROM device_updates WHERE user_nid = $1", user_nid
    )
    return found or 0


async def after(conn: Connection, place: Place, limit: int) -> list[DeviceUpdate]:
    """The next updates, oldest first."""
    rows = await conn.fetch(
        """
        SELECT u.position, u.stream_id, u.user_nid, u.device_id, d.device_nid IS NULL, k.json
          FROM device_updates u
          LEFT JOIN devices d ON d.user_nid = u.user_nid AND d.device_id = u.device_id
          LEFT JOIN device_keys k ON k.device_nid = d.device_nid
         WHERE (u.position, u.stream_id) > ($1, $2)
         ORDER BY u.position, u.stream_id LIMIT $3
        """,
        *place,
        limit,
    )
    return [DeviceUpdate(*row) for row in rows]


async def users_changed(conn: Connection, low: int, high: int) -> list[int]:
    """Whose devices changed in (low, high] of the clock."""
    rows = await conn.fetch(
        "SELECT DISTINCT user_nid FROM device_updates WHERE position > $1 AND position <= $2", low, high
    )
    return [row[0] for row in rows]


async def begin_bookmarks(conn: Connection, destinations: Sequence[str], position: int) -> None:
    """Let servers that have no bookmark get what follows a position."""
    await conn.execute(
        """
        INSERT INTO device_update_bookmarks (destination, position, stream_id)
        SELECT n, $2, 0 FROM unnest($1::text[]) AS n ON CONFLICT DO NOTHING
        """,
        destinations,
        position,
    )


async def bookmark(conn: Connection, destination: str) -> Place | None:
    """Up to where a server has everything."""
    row = await conn.fetchrow(
        "SELECT position, stream_id FROM device_update_bookmarks WHERE destination = $1", destination
    )
    return None if row is None else (row[0], row[1])


async def set_bookmark(conn: Connection, destination: str, place: Place) -> None:
    """The server has everything up to there."""
    await conn.execute(
        """
        UPDATE device_update_bookmarks SET position = $2, stream_id = $3
         WHERE destination = $1 AND (position, stream_id) < ($2, $3)
        """,
        destination,
        *place,
    )


async def behind(conn: Connection) -> list[str]:
    """Servers that some update follows the bookmark of."""
    rows = await conn.fetch(
        """
        SELECT destination FROM device_update_bookmarks b
         WHERE (b.position, b.stream_id)
             < (SELECT position, stream_id FROM device_updates ORDER BY position DESC, stream_id DESC LIMIT 1)
        """
    )
    return [row[0] for row in rows]
