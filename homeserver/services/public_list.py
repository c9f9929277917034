"""The list of public rooms, page by page, as clients and other servers are answered [cs "Published room directory"]."""

import re
from typing import Any

from attrs import frozen

from homeserver.core.errors import invalid_param
from homeserver.services.room_summaries import RoomSummaries, Search

MAX_LIMIT = 100
_PLACE = re.compile(r"o([0-9]{1,9})", re.ASCII)


@frozen
class PublicList:
    """Pages of what this server publishes."""

    summaries: RoomSummaries

    async def page(self, search: Search, *, since: str | None, limit: int) -> dict[str, Any]:
        """The answer for a page; 0 is no limit of the caller's. Raises M_INVALID_PARAM for a strange token."""
        start = _place(since)
        limit = min(limit or MAX_LIMIT, MAX_LIMIT)
        found = await self.summaries.public(search, start=start, limit=limit)
        answer: dict[str, Any] = {
            "chunk": [summary.public_form() for summary in found.rooms],
            "total_room_count_estimate": found.total,
        }
        if found.next is not None:
            answer["next_batch"] = f"o{found.next}"
        if start:
            answer["prev_batch"] = f"o{max(0, start - limit)}"
        return answer


def _place(since: str | None) -> int:
    if not since:
        return 0
    matched = _PLACE.fullmatch(since)
    if matched is None:
        raise invalid_param("since is no token of this list")
    return int(matched[1])
