"""Rows of `devices`: a user's sessions, with all that hangs on them."""

from collections.abc import Sequence

from attrs import frozen

from storage.database import Connection


@frozen
class Device:
    """One of a user's devices."""

    nid: int
    device_id: str
    display_name: str | None
    last_seen_ts: int  # its making, until it is seen again
    last_seen_ip: str | None


@frozen
class Sighting:
    """When and whence a device was last heard of."""

    device_nid: int
    ts: int
    ip: str
    agent: str


async def open_device(
    conn: Connection,
    user_nid: int,
    device_id: str,
    *,
    display_name: str | None,
    now: int,
    oauth_client: str | None = None,
) -> tuple[int, bool]:
    """The device's number, and whether it is new; the name is for new devices only [cs "POST /login"]."""
    row = await conn.fetchrow(
        """
        INSERT INTO devices (user_nid, device_id, display_name, created_ts, oauth_client)
        VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (user_nid, device_id) DO UPDATE SET oauth_client = excluded.oauth_client
        RETURNING device_nid, xmax = 0
        """,
        user_nid,
        device_id,
        display_name,
        now,
        oauth_client,
    )
    assert row is not None
    return row[0], row[1]


async def devices_of(conn: Connection, user_nid: int) -> list[Device]:
    """All devices of a user, oldest first."""
    rows = await conn.fetch(
        """
        SELECT device_nid, device_id, display_name, coalesce(last_seen_ts, created_ts), last_seen_ip
          FROM devices WHERE user_nid = $1 ORDER BY device_nid
        """,
        user_nid,
    )
    return [Device(*row) for row in rows]


async def find_device(conn: Connection, user_nid: int, device_id: str) -> Device | None:
    """One device of a user."""
    row = await conn.fetchrow(
        """
        SELECT device_nid, device_id, display_name, coalesce(last_seen_ts, created_ts), last_seen_ip
          FROM devices WHERE user_nid = $1 AND device_id = $2
        """,
        user_nid,
        device_id,
    )
    return None if row is None else Device(*row)


async def rename_device(conn: Connection, device_nid: int, display_name: str) -> None:
    """Give a device another display name."""
    await conn.execute("UPDATE devices SET display_name = $2 WHERE device_nid = $1", device_nid, display_name)


async def delete_devices(
    conn: Connection, user_nid: int, *, device_ids: Sequence[str] | None = None, keep: int | None = None
) -> list[str]:
    """Delete devices (all, if none are named; never `keep`) with their tokens, keys and messages; gives their ids."""
    rows = await conn.fetch(
        """
        WITH gone AS (
            DELETE FROM devices
             WHERE user_nid = $1 AND ($2::text[] IS NULL OR device_id = ANY($2))
               AND device_nid IS DISTINCT FROM $3
            RETURNING device_nid, device_id),
        access AS (DELETE FROM access_tokens a USING gone
                    WHERE a.user_nid = $1 AND a.device_nid = gone.device_nid),
        refresh AS (DELETE FROM refresh_tokens r USING gone
                     WHERE r.user_nid = $1 AND r.device_nid = gone.device_nid),
        messages AS (DELETE FROM to_device t USING gone WHERE t.device_nid = gone.device_nid),
        keys AS (DELETE FROM device_keys k USING gone WHERE k.device_nid = gone.device_nid),
        queues AS (DELETE FROM one_time_key_queues q USING gone WHERE q.device_nid = gone.device_nid
                   RETURNING q.queue_nid),
        one_time AS (DELETE FROM one_time_keys o USING queues q WHERE o.queue_nid = q.queue_nid),
        fallback AS (DELETE FROM fallback_keys f USING gone WHERE f.device_nid = gone.device_nid),
        pushers AS (DELETE FROM pushers p USING gone WHERE p.device_nid = gone.device_nid),
        looks AS (DELETE FROM peeks p USING gone WHERE p.device_nid = gone.device_nid),
        asleep AS (DELETE FROM dehydrated_devices s USING gone WHERE s.device_nid = gone.device_nid),
        answers AS (DELETE FROM transactions t USING gone WHERE t.device_nid = gone.device_nid)
        SELECT device_id FROM gone ORDER BY device_nid
        """,
        user_nid,
        None if device_ids is None else list(device_ids),
        keep,
    )
    return [row[0] for row in rows]


async def record_sightings(conn: Connection, sightings: Sequence[Sighting]) -> None:
    """Note when devices were last seen."""
    await conn.execute(
        """
        UPDATE devices d SET last_seen_ts = s.ts, last_seen_ip = s.ip, last_seen_agent = s.agent
          FROM unnest($1::int[], $2::bigint[], $3::text[], $4::text[]) AS s(device_nid, ts, ip, agent)
         WHERE d.device_nid = s.device_nid
        """,
        [sighting.device_nid for sighting in sightings],
        [sighting.ts for sighting in sightings],
        [sighting.ip for sighting in sightings],
        [sighting.agent for sighting in sightings],
    )


async def record_device_list_change(
    conn: Connection, position: int, user_nids: Sequence[int], *, seen_by: int = 0
) -> None:
    """The users' devices or keys are other ones from `position` on; for one reader only, or (0) for all."""
    await conn.execute(
        """
        INSERT INTO device_list_changes (position, user_nid, seen_by)
        SELECT $1, n, $3 FROM unnest($2::int[]) AS n
            ON CONFLICT (user_nid, seen_by) DO UPDATE SET position = excluded.position
        """,
        position,
        user_nids,
        seen_by,
    )


async def sightings_of(
    conn: Connection, user_nid: int
) -> list[tuple[str, int | None, str | None, str | None]]:
    """(device id, when, from which address and by which program it was last used) of a user's devices."""
    rows = await conn.fetch(
        """
        SELECT device_id, last_seen_ts, last_seen_ip, last_seen_agent FROM devices
         WHERE user_nid = $1 ORDER BY device_nid
        """,
        user_nid,
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]


async def oauth_client_of(conn: Connection, device_nid: int) -> str | None:
    """The client that OAuth gave this device to."""
    client: str | None = await conn.fetchval(
        "SELECT oauth_client FROM devices WHERE device_nid = $1", device_nid
    )
    return client
