"""A device that sleeps on the server, so that a user without any other one gets room keys [MSC3814].

It is an ordinary device without a login: others encrypt for it, its messages wait. A new login wakes it by reading
them, and lets another one sleep. Messages stay until the device goes, as a client may be interrupted while it reads.
"""

from typing import Any

import orjson
from attrs import frozen

from homeserver.core.device_keys import checked_device_keys, same_identity
from homeserver.core.errors import MatrixError, forbidden, invalid_param, not_found
from homeserver.services.device_lists import DeviceLists
from homeserver.services.device_owner import DeviceOwner
from homeserver.services.key_uploads import KeyUploads, Upload
from homeserver.services.now import now_ms
from homeserver.services.sessions import MAX_DEVICE_ID, Sessions
from storage import dehydrated_devices, e2e_keys, user_news
from storage.database import Database
from storage.dehydrated_devices import DehydratedDevice
from storage.devices import find_device, open_device
from storage.user_news import Message

MAX_DATA = 65_536
EVENTS = 100  # messages in one answer


@frozen(kw_only=True)
class Sleeper:
    """A device that is to sleep."""

    device_id: str
    data: dict[str, Any]
    display_name: str | None
    keys: Upload


@frozen
class DehydratedDevices:
    """Lets devices sleep and wakes them."""

    database: Database
    device_lists: DeviceLists
    sessions: Sessions
    uploads: KeyUploads

    async def put(self, user_id: str, user_nid: int, sleeper: Sleeper) -> None:
        """Let a device sleep instead of the one that did. Raises M_INVALID_PARAM, M_TOO_LARGE, as for its keys."""
        if not 0 < len(sleeper.device_id) <= MAX_DEVICE_ID or "\0" in sleeper.device_id:
            raise invalid_param("A device id has 1 to 255 characters")
        data = orjson.dumps(sleeper.data).decode()
        if len(data) > MAX_DATA:
            raise MatrixError(413, "M_TOO_LARGE", "The device data is too large")
        before = await self.find(user_nid)
        again = before is not None and before.device_id == sleeper.device_id
        if not again and await self._exists(user_nid, sleeper.device_id):
            raise invalid_param("There is a device of that id, and it is awake")
        await self._check_identity(user_id, sleeper, before if again else None)
        owner = await self._open(user_id, user_nid, sleeper)
        try:
            await self.uploads.upload(owner, sleeper.keys)
        except MatrixError:
            if not again:
                await self.sessions.delete_devices(user_nid, [sleeper.device_id])
            raise
        async with self.database.transaction() as conn:
            await dehydrated_devices.put(conn, user_nid, owner.device_nid, data)
        if before is not None and not again:
            await self.sessions.delete_devices(user_nid, [before.device_id])
        await self.device_lists.changed(user_nid, [sleeper.device_id])

    async def find(self, user_nid: int) -> DehydratedDevice | None:
        """The device that sleeps."""
        async with self.database.read() as conn:
            return await dehydrated_devices.find(conn, user_nid)

    async def one(self, user_nid: int) -> DehydratedDevice:
        """The device that sleeps. Raises M_NOT_FOUND."""
        found = await self.find(user_nid)
        if found is None:
            raise not_found("No dehydrated device available")
        return found

    async def delete(self, user_nid: int) -> str:
        """Delete it; gives its id. Raises M_NOT_FOUND."""
        found = await self.one(user_nid)
        await self.sessions.delete_devices(user_nid, [found.device_id])
        return found.device_id

    async def messages(self, user_nid: int, device_id: str, after: int) -> list[Message]:
        """What waits for it behind a position. Raises M_NOT_FOUND, M_FORBIDDEN."""
        found = await self.one(user_nid)
        if found.device_id != device_id:
            raise forbidden("Only the messages of your dehydrated device can be read")
        async with self.database.read() as conn:
            return await user_news.inbox(conn, found.device_nid, after, EVENTS)

    async def _check_identity(self, user_id: str, sleeper: Sleeper, before: DehydratedDevice | None) -> None:
        """Nobody looks after a device that sleeps: it must have signed its keys itself, and keep those it has."""
        if sleeper.keys.device_keys is None:
            return
        given = checked_device_keys(sleeper.keys.device_keys, user_id, sleeper.device_id)
        if before is None:
            return
        async with self.database.read() as conn:
            known = await e2e_keys.keys_of_device(conn, before.device_nid)
        if known is not None and not same_identity(orjson.loads(known), given):
            raise invalid_param("The device that sleeps has other keys")

    async def _exists(self, user_nid: int, device_id: str) -> bool:
        async with self.database.read() as conn:
            return await find_device(conn, user_nid, device_id) is not None

    async def _open(self, user_id: str, user_nid: int, sleeper: Sleeper) -> DeviceOwner:
        async with self.database.transaction() as conn:
            nid, _ = await open_device(
                conn, user_nid, sleeper.device_id, display_name=sleeper.display_name, now=now_ms()
            )
        return DeviceOwner(user_id, user_nid, sleeper.device_id, nid)
