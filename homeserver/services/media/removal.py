"""What operators do with media that must not be had: withhold them, or remove them for good."""

from attrs import frozen

from homeserver.services.media.library import gone
from homeserver.services.media.shelf import Shelf
from storage import media
from storage.media import MediaName


@frozen
class Removal:
    """Files go with the last medium that has them."""

    shelf: Shelf

    async def quarantine(self, name: MediaName) -> int:
        """Nobody gets it any more, nor anything else with the same content; gives how many media those are."""
        return await self._set(name, quarantined=True)

    async def release(self, name: MediaName) -> int:
        """Give it free again."""
        return await self._set(name, quarantined=False)

    async def delete(self, name: MediaName) -> None:
        """Remove it. Copies that other servers have are theirs."""
        async with self.shelf.withdrawing() as conn:
            orphans = await media.delete(conn, name)
        if orphans is None:
            raise gone()
        await self.shelf.drop(orphans)

    async def delete_copies(self, before: int) -> int:
        """Remove copies of other servers' media that nobody wanted since; gives how many."""
        async with self.shelf.withdrawing() as conn:
            deleted, orphans = await media.delete_copies(conn, before)
        await self.shelf.drop(orphans)
        return deleted

    async def _set(self, name: MediaName, *, quarantined: bool) -> int:
        async with self.shelf.withdrawing() as conn:
            changed = await media.quarantine(conn, name, quarantined=quarantined)
        if not changed:
            raise gone()
        return changed
