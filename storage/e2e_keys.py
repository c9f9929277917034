"""Rows of `device_keys`, `cross_signing_keys` and `user_signatures`: the keys by which users know each other's devices.

Texts are JSON objects without `unsigned`, never parsed on the way out.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import orjson
from attrs import frozen

from storage.database import Connection

MASTER, SELF_SIGNING, USER_SIGNING = "master", "self_signing", "user_signing"


@frozen
class DeviceKeys:
    """The identity keys of one device of ours."""

    user_nid: int
    device_id: str
    display_name: str | None
    json: str


@frozen
class CrossSigningKey:
    """One of a user's cross-signing keys."""

    user_nid: int
    usage: str
    public_key: str
    json: str


@frozen
class UserSignature:
    """A signature of one user over the master key of another."""

    target_nid: int
    target_key: str
    signer_key: str
    signature: str


async def device_keys(conn: Connection, user_nids: Iterable[int]) -> list[DeviceKeys]:
    """The keys of all devices of users."""
    rows = await conn.fetch(
        """
        SELECT k.user_nid, d.device_id, d.display_name, k.json
          FROM device_keys k JOIN devices d USING (device_nid)
         WHERE k.user_nid = ANY($1::int[])
         ORDER BY k.device_nid
        """,
        list(user_nids),
    )
    return [DeviceKeys(*row) for row in rows]


async def told_keys(
    conn: Connection, user_nids: Iterable[int], *, only: Mapping[int, Collection[str]], names: bool
) -> tuple[dict[int, str], list[CrossSigningKey]]:
    """What is told of users: their cross-signing keys, and for each the text of an object, device id to keys.

    `only`: of these users these devices; `names`: with the devices' display names, which the server adds. Made here as
    there are many: the texts are never taken apart.
    """
    rows = await conn.fetch(
        """
        SELECT user_nid, crossed, name, said, json
          FROM (SELECT k.user_nid, false, d.device_id, d.display_name, k.json, k.device_nid
                  FROM device_keys k JOIN devices d USING (device_nid)
                 WHERE k.user_nid = ANY($1::int[])
                 UNION ALL
                SELECT user_nid, true, usage, public_key, json, 0
                  FROM cross_signing_keys WHERE user_nid = ANY($1::int[]))
               AS n(user_nid, crossed, name, said, json, number)
         ORDER BY number
        """,
        list(user_nids),
    )
    found: dict[int, list[str]] = {}
    crossed = []
    for user_nid, is_crossed, name, said, text in rows:
        if is_crossed:
            crossed.append(CrossSigningKey(user_nid, name, said, text))
        elif user_nid not in only or name in only[user_nid]:
            found.setdefault(user_nid, []).append(_told(name, said if names else None, text))
    return {user_nid: "{" + ",".join(texts) + "}" for user_nid, texts in found.items()}, crossed


def _told(device_id: str, display_name: str | None, text: str) -> str:
    """A device as a member of an object."""
    said = "{}" if display_name is None else f'{{"device_display_name":{_json(display_name)}}}'
    name = (
        f'"{device_id}"' if device_id.isalnum() else _json(device_id)
    )  # most are letters: nothing to escape
    return f'{name}:{text[:-1]},"unsigned":{said}}}'


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


async def keys_of_device(conn: Connection, device_nid: int) -> str | None:
    """One device's keys."""
    text: str | None = await conn.fetchval("SELECT json FROM device_keys WHERE device_nid = $1", device_nid)
    return text


async def put_device_keys(
    conn: Connection, device: tuple[int, int], json: str, *, instead_of: str | None
) -> bool:
    """Keep the keys of (user_nid, device_nid); False if what is there is not (any more) `instead_of`."""
    done = await conn.fetchval(
        """
        INSERT INTO device_keys AS k (device_nid, user_nid, json)
        SELECT device_nid, user_nid, $3 FROM devices WHERE user_nid = $1 AND device_nid = $2
            ON CONFLICT (device_nid) DO UPDATE SET json = excluded.json WHERE k.json = $4
        RETURNING 1
        """,
        *device,
        json,
        instead_of,
    )
    return done is not None


async def replace_device_keys(
    conn: Connection, user_nid: int, changes: Sequence[tuple[str, str, str]]
) -> set[str]:
    """Of (device_id, before, after): keep `after` where `before` still stands; gives the devices that took it."""
    rows = await conn.fetch(
        """
        UPDATE device_keys k SET json = n.after
          FROM unnest($2::text[], $3::text[], $4::text[]) AS n(device_id, before, after)
          JOIN devices d ON d.user_nid = $1 AND d.device_id = n.device_id
         WHERE k.device_nid = d.device_nid AND k.json = n.before
        RETURNING n.device_id
        """,
        user_nid,
        *_columns(changes, 3),
    )
    return {row[0] for row in rows}


async def cross_signing_keys(conn: Connection, user_nids: Iterable[int]) -> list[CrossSigningKey]:
    """All cross-signing keys of users."""
    rows = await conn.fetch(
        "SELECT user_nid, usage, public_key, json FROM cross_signing_keys WHERE user_nid = ANY($1::int[])",
        list(user_nids),
    )
    return [CrossSigningKey(*row) for row in rows]


async def put_cross_signing_keys(conn: Connection, keys: Sequence[CrossSigningKey]) -> None:
    """Keep keys, each instead of the former one of its usage."""
    await conn.execute(
        """
        INSERT INTO cross_signing_keys (user_nid, usage, public_key, json)
        SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::text[])
            ON CONFLICT (user_nid, usage) DO UPDATE SET public_key = excluded.public_key, json = excluded.json
        """,
        *_columns([(key.user_nid, key.usage, key.public_key, key.json) for key in keys], 4),
    )


async def replace_master_key(conn: Connection, user_nid: int, before: str, after: str) -> bool:
    """Keep `after` if `before` still stands."""
    done = await conn.fetchval(
        "UPDATE cross_signing_keys SET json = $3 WHERE user_nid = $1 AND usage = 'master' AND json = $2"
        " RETURNING 1",
        user_nid,
        before,
        after,
    )
    return done is not None


async def forget_cross_signing_keys(conn: Connection, user_nid: int, keep: Iterable[str]) -> None:
    """Drop a user's keys of all usages but `keep`."""
    await conn.execute(
        "DELETE FROM cross_signing_keys WHERE user_nid = $1 AND usage <> ALL($2::text[])",
        user_nid,
        list(keep),
    )


async def forget_user(conn: Connection, user_nid: int) -> None:
    """A user has gone: no key, signature or backup is left. Devices' keys go with their devices."""
    await conn.execute("DELETE FROM cross_signing_keys WHERE user_nid = $1", user_nid)
    await conn.execute("DELETE FROM user_signatures WHERE signer_nid = $1", user_nid)
    await conn.execute("DELETE FROM room_keys WHERE user_nid = $1", user_nid)
    await conn.execute("DELETE FROM key_backups WHERE user_nid = $1", user_nid)


async def user_signatures(
    conn: Connection, signer_nid: int, target_nids: Iterable[int]
) -> list[UserSignature]:
    """What one user signed of others."""
    rows = await conn.fetch(
        """
        SELECT target_nid, target_key, signer_key, signature FROM user_signatures
         WHERE signer_nid = $1 AND target_nid = ANY($2::int[])
        """,
        signer_nid,
        list(target_nids),
    )
    return [UserSignature(*row) for row in rows]


async def put_user_signatures(conn: Connection, signer_nid: int, signatures: Sequence[UserSignature]) -> None:
    """Keep what one user signed of others."""
    values = [(one.target_nid, one.target_key, one.signer_key, one.signature) for one in signatures]
    await conn.execute(
        """
        INSERT INTO user_signatures (signer_nid, target_nid, target_key, signer_key, signature)
        SELECT $1, * FROM unnest($2::int[], $3::text[], $4::text[], $5::text[])
            ON CONFLICT (signer_nid, target_nid) DO UPDATE
           SET target_key = excluded.target_key, signer_key = excluded.signer_key,
               signature = excluded.signature
        """,
        signer_nid,
        *_columns(values, 4),
    )


def _columns(rows: Sequence[Sequence[object]], width: int) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
