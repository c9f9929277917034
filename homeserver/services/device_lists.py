"""Who shares a room with a user is told when the user's devices or keys change [cs "Tracking the device list"]."""

from collections.abc import Awaitable, Callable

from attrs import frozen

from storage.committer import Committer, Touched
from storage.database import Connection
from storage.devices import record_device_list_change

# The users and rooms whose syncs a change of this user's devices concerns.
Concerned = Callable[[int], Awaitable[Touched]]


@frozen
class DeviceLists:
    """Notes changes on the one clock."""

    committer: Committer
    concerned: Concerned

    async def changed(self, user_nid: int) -> None:
        """Something about the user's devices is different now."""

        async def job(conn: Connection, position: int) -> None:
            await record_device_list_change(conn, position, [user_nid])

        await self.committer.run(job, await self.concerned(user_nid))
