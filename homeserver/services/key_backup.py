"""Server-side key backups: encrypted sessions that a user's devices keep here [cs "Server-side key backups"].

Nobody waits for them on a sync, so they take no number of the clock. Writers of one user come one after the other:
each locks the latest version, the only one that may be written.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from attrs import frozen

from homeserver.core.errors import MatrixError, bad_json, invalid_param, missing_param, not_found
from storage import key_backups
from storage.database import Database
from storage.key_backups import Backup, RoomKey, Scope

MAX_SESSION_DATA = 65_536
MAX_SESSION_ID = 255
MAX_NUMBER = 2**53 - 1
AT_ONCE = 500  # sessions of a statement: encoding the arguments of more takes milliseconds

Stored = Mapping[str, Any]  # count and etag, as they are told


@frozen
class KeyBackups:
    """Keeps backups."""

    database: Database

    async def create(self, user_nid: int, algorithm: str, auth_data: Any) -> str:
        """Begin a new version."""
        async with self.database.transaction() as conn:
            return str(await key_backups.create(conn, user_nid, algorithm, _text(auth_data)))

    async def one(self, user_nid: int, version: str | None) -> Backup:
        """A version, or the latest. Raises M_NOT_FOUND."""
        async with self.database.read() as conn:
            found = await key_backups.find(conn, user_nid, None if version is None else _number(version))
        if found is None:
            raise not_found("No current backup version" if version is None else "Unknown backup version")
        return found

    async def describe(self, user_nid: int, version: str, body: Mapping[str, Any]) -> None:
        """Replace the auth_data of a version; nothing else of it changes. Raises M_INVALID_PARAM."""
        backup = await self.one(user_nid, version)
        if body.get("version", version) != version:
            raise invalid_param("The version in the body is not that of the path")
        if body.get("algorithm") != backup.algorithm:
            raise invalid_param("Algorithm does not match")
        async with self.database.transaction() as conn:
            await key_backups.set_auth_data(conn, user_nid, backup.version, _text(opaque(body, "auth_data")))

    async def delete(self, user_nid: int, version: str) -> None:
        """Delete a version; one that is deleted already stays so. Raises M_NOT_FOUND."""
        async with self.database.transaction() as conn:
            if not await key_backups.delete(conn, user_nid, _number(version)):
                raise not_found("Unknown backup version")

    async def put(self, user_nid: int, version: str, keys: Sequence[RoomKey]) -> Stored:
        """Add sessions to the latest version. Raises M_NOT_FOUND, M_WRONG_ROOM_KEYS_VERSION."""
        async with self.database.transaction() as conn:
            latest = await key_backups.lock_latest(conn, user_nid)
            if latest is None:
                raise not_found("No current backup version")
            if str(latest) != version:
                extra = {"current_version": str(latest)}
                raise MatrixError(403, "M_WRONG_ROOM_KEYS_VERSION", "Wrong backup version", extra)
            kept = added = 0
            for start in range(0, len(keys), AT_ONCE):
                some = await key_backups.put(conn, user_nid, latest, keys[start : start + AT_ONCE])
                kept, added = kept + some[0], added + some[1]
            return _stored(await key_backups.count(conn, user_nid, latest, kept=kept, added=added))

    async def get(self, user_nid: int, version: str, place: tuple[str | None, str | None]) -> list[RoomKey]:
        """The sessions of a version: all, of a room, or one. Raises M_NOT_FOUND for an unknown version."""
        backup = await self.one(user_nid, version)
        async with self.database.read(snapshot=True) as conn:
            return [key async for key in key_backups.get(conn, Scope(user_nid, backup.version, *place))]

    async def remove(self, user_nid: int, version: str, place: tuple[str | None, str | None]) -> Stored:
        """Delete sessions of a version. Raises M_NOT_FOUND."""
        async with self.database.transaction() as conn:
            stored = await key_backups.remove(conn, Scope(user_nid, _number(version), *place))
        if stored is None:
            raise not_found("Unknown backup version")
        return _stored(stored)


def session_of(room_id: str, session_id: str, value: Any) -> RoomKey:
    """A session as a client sent it. Raises M_BAD_JSON, M_INVALID_PARAM, M_MISSING_PARAM, M_TOO_LARGE."""
    # Rooms are the client's affair; the ids of some have a domain, and no longer all the same length.
    if not room_id.startswith("!") or not 1 < len(room_id) <= MAX_SESSION_ID or "\0" in room_id:
        raise invalid_param("A backup is ordered by room ids")
    if not 0 < len(session_id) <= MAX_SESSION_ID or "\0" in session_id:
        raise invalid_param("A session id has 1 to 255 characters")
    if not isinstance(value, dict):
        raise bad_json(f"The session {session_id} must be an object")
    data = opaque(value, "session_data")
    text = _text(data)
    if len(text) > MAX_SESSION_DATA:
        raise MatrixError(413, "M_TOO_LARGE", f"The session {session_id} is too large")
    return RoomKey(
        room_id,
        session_id,
        _field(value, "first_message_index", int),
        _field(value, "forwarded_count", int),
        _field(value, "is_verified", bool),
        text,
    )


def opaque(value: Mapping[str, Any], name: str) -> Any:
    """What only clients understand: an object. Raises M_MISSING_PARAM, M_BAD_JSON.

    COMPAT(SyTest, until it sends objects): or a string.
    """
    if name not in value:
        raise missing_param(name)
    if not isinstance(value[name], (dict, str)):
        raise bad_json(f"{name} must be an object")
    return value[name]


def told_session(key: RoomKey) -> dict[str, Any]:
    """A session as clients get it."""
    return {
        "first_message_index": key.first_message_index,
        "forwarded_count": key.forwarded_count,
        "is_verified": key.is_verified,
        "session_data": orjson.Fragment(key.data),
    }


def _field(value: Mapping[str, Any], name: str, kind: type) -> Any:
    if name not in value:
        raise missing_param(name)
    found = value[name]
    number = found if isinstance(found, int) else 0
    if type(found) is not kind or not 0 <= number <= MAX_NUMBER:
        raise bad_json(f"{name} is not what it should be")
    return found


def _number(version: str) -> int:
    """Versions are opaque to clients; one that we did not give is unknown."""
    if not version.isascii() or not version.isdigit() or len(version) > 18 or version != str(int(version)):
        raise not_found("Unknown backup version")
    return int(version)


def _stored(values: tuple[int, int]) -> Stored:
    count, etag = values
    return {"count": count, "etag": str(etag)}


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()
