"""A user's devices: seen, named, deleted [cs "Device Management"]."""

from typing import Any

from attrs import frozen

from homeserver.core.errors import not_found
from homeserver.services.device_lists import DeviceLists
from homeserver.services.sessions import Sessions
from storage import devices as rows
from storage.database import Database


@frozen
class Devices:
    """Reads and changes devices."""

    database: Database
    sessions: Sessions
    device_lists: DeviceLists

    async def all(self, user_nid: int) -> list[dict[str, Any]]:
        """All devices of a user, as they are told."""
        async with self.database.read() as conn:
            return [_told(device) for device in await rows.devices_of(conn, user_nid)]

    async def one(self, user_nid: int, device_id: str) -> dict[str, Any]:
        """One device. Raises M_NOT_FOUND."""
        return _told(await self._find(user_nid, device_id))

    async def rename(self, user_nid: int, device_id: str, display_name: str | None) -> None:
        """Give a device another name; none leaves it as it is. Raises M_NOT_FOUND."""
        device = await self._find(user_nid, device_id)
        if display_name is None or display_name == device.display_name:
            return
        async with self.database.writer() as conn:
            await rows.rename_device(conn, device.nid, display_name)
        await self.device_lists.changed(user_nid, [device_id])

    async def create(self, user_nid: int, device_id: str, display_name: str | None) -> bool:
        """A device that nobody logs in by; False if it is there [as "Device management"]."""
        return await self.sessions.create_device(user_nid, device_id, display_name)

    async def delete(self, user_nid: int, device_ids: list[str]) -> None:
        """Log devices out for good; unknown ones are gone already."""
        await self.sessions.delete_devices(user_nid, device_ids)

    async def _find(self, user_nid: int, device_id: str) -> rows.Device:
        async with self.database.read() as conn:
            device = await rows.find_device(conn, user_nid, device_id)
        if device is None:
            raise not_found("There is no such device")
        return device


def _told(device: rows.Device) -> dict[str, Any]:
    # COMPAT(matrix-nio, until it takes lists without them): every field, also where it says nothing yet
    return {
        "device_id": device.device_id,
        "display_name": device.display_name or "",
        "last_seen_ip": device.last_seen_ip or "",
        "last_seen_ts": device.last_seen_ts,
    }
