"""Looking for people by name [cs "User Directory"]: our own users, whom the searcher could meet in a room."""

from typing import Any

import orjson
from attrs import frozen

from storage.database import Database
from storage.user_directory import Found, search_users

MAX_LIMIT = 100
MAX_TERM = 255  # characters that are looked at


@frozen
class UserDirectory:
    """Searches."""

    database: Database

    async def search(self, searcher: int, term: str, limit: int) -> dict[str, Any]:
        """An answer of /user_directory/search."""
        term, limit = term.strip()[:MAX_TERM], min(limit, MAX_LIMIT)
        if not term or limit < 1:
            return {"results": [], "limited": False}
        # The database folds the case of ASCII letters only.
        spellings = {term, term.lower(), term.upper(), term.title()}
        names = [_containing(orjson.dumps(spelling).decode()[1:-1]) for spelling in sorted(spellings)]
        patterns = (_containing(term.removeprefix("@")), names)
        async with self.database.read() as conn:
            found = await search_users(conn, searcher, patterns, limit + 1)
        return {"results": [_told(user) for user in found[:limit]], "limited": len(found) > limit}


def _containing(text: str) -> str:
    """A pattern for LIKE in which `text` stands for itself."""
    for special in ("\\", "%", "_"):
        text = text.replace(special, "\\" + special)
    return f"%{text}%"


def _told(user: Found) -> dict[str, Any]:
    told = {"user_id": user.user_id}
    for name, value in (("display_name", user.display_name), ("avatar_url", user.avatar_url)):
        if value is not None:
            told[name] = orjson.loads(value)
    return told
