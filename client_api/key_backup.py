"""Client-Server API, "Server-side key backups"."""

import orjson
from attrs import frozen

from client_api import backup_sessions
from homeserver.core.errors import not_found
from homeserver.services.key_backup import KeyBackups, opaque, session_of, told_session
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result
from storage.key_backups import RoomKey

MAX_BODY = 32 * 1024 * 1024  # ten thousand sessions and more
VERSIONS, KEYS = "/v3/room_keys/version", "/v3/room_keys/keys"
# Clients of before the specification had it.
OLD = "/unstable/room_keys"


@frozen
class KeyBackupApi:
    """[cs "Server-side key backups"]"""

    backups: KeyBackups

    def endpoints(self) -> list[Endpoint]:
        version = f"{VERSIONS}/{{version}}"
        room, session = f"{KEYS}/{{roomId}}", f"{KEYS}/{{roomId}}/{{sessionId}}"
        return [
            Endpoint("POST", VERSIONS, self.create, also=_old(VERSIONS), rate="other"),
            Endpoint("GET", VERSIONS, self.version, also=_old(VERSIONS)),
            Endpoint("GET", version, self.version, also=_old(version)),
            Endpoint("PUT", version, self.describe, also=_old(version), rate="other"),
            Endpoint("DELETE", version, self.delete, also=_old(version), rate="other", empty_body=True),
            Endpoint("PUT", KEYS, self.put_all, also=_old(KEYS), max_body=MAX_BODY),
            Endpoint("PUT", room, self.put_room, also=_old(room), max_body=MAX_BODY),
            Endpoint("PUT", session, self.put_one, also=_old(session)),
            Endpoint("GET", KEYS, self.get_all, also=_old(KEYS)),
            Endpoint("GET", room, self.get_room, also=_old(room)),
            Endpoint("GET", session, self.get_one, also=_old(session)),
            *[
                Endpoint("DELETE", path, self.remove, also=_old(path), empty_body=True)
                for path in (KEYS, room, session)
            ],
        ]

    # --- versions

    async def create(self, call: Call) -> Result:
        algorithm, auth_data = call.field("algorithm", str), opaque(call.body, "auth_data")
        return {"version": await self.backups.create(call.requester.user_nid, algorithm, auth_data)}

    async def version(self, call: Call) -> Result:
        backup = await self.backups.one(call.requester.user_nid, call.path.get("version"))
        return {
            "version": str(backup.version),
            "algorithm": backup.algorithm,
            "auth_data": orjson.Fragment(backup.auth_data),
            "count": backup.count,
            "etag": str(backup.etag),
        }

    async def describe(self, call: Call) -> Result:
        call.field("algorithm", str)
        opaque(call.body, "auth_data")
        await self.backups.describe(call.requester.user_nid, call.path["version"], call.body)
        return {}

    async def delete(self, call: Call) -> Result:
        await self.backups.delete(call.requester.user_nid, call.path["version"])
        return {}

    # --- sessions

    async def put_all(self, call: Call) -> Result:
        return await self._put(call, await backup_sessions.of_rooms(call.raw_body))

    async def put_room(self, call: Call) -> Result:
        return await self._put(call, await backup_sessions.of_room(call.path["roomId"], call.raw_body))

    async def put_one(self, call: Call) -> Result:
        return await self._put(call, [session_of(call.path["roomId"], call.path["sessionId"], call.body)])

    async def get_all(self, call: Call) -> Result:
        return {"rooms": await backup_sessions.told(await self._get(call))}

    async def get_room(self, call: Call) -> Result:
        rooms = await backup_sessions.told(await self._get(call))
        return dict(rooms.get(call.path["roomId"], {"sessions": {}}))

    async def get_one(self, call: Call) -> Result:
        found = await self._get(call)
        if not found:
            raise not_found("Key not found")
        return told_session(found[0])

    async def remove(self, call: Call) -> Result:
        return dict(await self.backups.remove(call.requester.user_nid, _version(call), _place(call)))

    async def _put(self, call: Call, keys: list[RoomKey]) -> Result:
        return dict(await self.backups.put(call.requester.user_nid, _version(call), keys))

    async def _get(self, call: Call) -> list[RoomKey]:
        return await self.backups.get(call.requester.user_nid, _version(call), _place(call))


def _version(call: Call) -> str:
    return call.query.string("version")


def _place(call: Call) -> tuple[str | None, str | None]:
    return call.path.get("roomId"), call.path.get("sessionId")


def _old(path: str) -> tuple[str, ...]:
    return (path.replace("/v3/room_keys", OLD),)
