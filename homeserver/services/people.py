"""What two people have in common [cs "Mutual Rooms"]."""

from attrs import frozen

from storage.database import Database
from storage.memberships import shared_rooms
from storage.state_keys import StateKeys, user_key

PAGE = 500


@frozen
class People:
    """Compares who is where."""

    database: Database
    state_keys: StateKeys
    page: int = PAGE

    async def rooms_with(self, user_nid: int, other: str, after: str) -> tuple[list[str], int]:
        """The rooms that both are in, by id, one more than a page where there are more; and how many in all."""
        async with self.database.read() as conn:
            other_nid = (await self.state_keys.find(conn, [user_key(other)])).get(user_key(other))
            if other_nid is None:
                return [], 0
            return await shared_rooms(conn, user_nid, other_nid, after=after, limit=self.page + 1)
