"""Rows of `dehydrated_devices`: the device of a user that sleeps on the server [MSC3814]."""

from attrs import frozen

from storage.database import Connection


@frozen
class DehydratedDevice:
    """`data` is JSON that only the user's clients can read."""

    device_nid: int
    device_id: str
    data: str


async def find(conn: Connection, user_nid: int) -> DehydratedDevice | None:
    """The one device of a user that sleeps."""
    row = await conn.fetchrow(
        """
        SELECT s.device_nid, d.device_id, s.data
          FROM dehydrated_devices s JOIN devices d USING (device_nid) WHERE s.user_nid = $1
        """,
        user_nid,
    )
    return None if row is None else DehydratedDevice(*row)


async def put(conn: Connection, user_nid: int, device_nid: int, data: str) -> None:
    """Let this device sleep, instead of any other one."""
    await conn.execute(
        """
        INSERT INTO dehydrated_devices (user_nid, device_nid, data) VALUES ($1, $2, $3)
            ON CONFLICT (user_nid) DO UPDATE SET device_nid = excluded.device_nid, data = excluded.data
        """,
        user_nid,
        device_nid,
        data,
    )
