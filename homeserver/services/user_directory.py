"""Looking for people by name [cs "User Directory"]: of any server, whom the searcher could meet in a room."""

from typing import Any

from attrs import frozen

from homeserver.core.search_words import part_of_name
from homeserver.services.follower import Follower
from homeserver.services.notifier import Notifier
from storage.database import Database
from storage.user_directory import Found, search_users

MAX_LIMIT = 100
MAX_TERM = 255  # characters that are looked at
SETTLE = 1.0  # seconds that a search waits for who has just come


@frozen
class UserDirectory:
    """Searches, in what its follower has made findable."""

    database: Database
    follower: Follower
    notifier: Notifier

    async def search(self, searcher: int, term: str, limit: int) -> dict[str, Any]:
        """An answer of /user_directory/search."""
        term, limit = term.strip()[:MAX_TERM], min(limit, MAX_LIMIT)
        query = part_of_name(term)
        if query is None or limit < 1:
            return {"results": [], "limited": False}
        await self.follower.reached(self.notifier.position, SETTLE)
        async with self.database.read() as conn:
            spelled = term.removeprefix("@").lower()
            found = await search_users(conn, searcher, query, spelled, limit + 1)
        return {"results": [_told(user) for user in found[:limit]], "limited": len(found) > limit}


def _told(user: Found) -> dict[str, Any]:
    told = {"user_id": user.user_id, "display_name": user.display_name, "avatar_url": user.avatar_url}
    return {name: value for name, value in told.items() if value is not None}
