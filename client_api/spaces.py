"""Client-Server API, "Querying rooms within a space"."""

import re
from typing import Any

from attrs import frozen

from client_api.visitor import page_limit, visitor
from homeserver.core.errors import invalid_param
from homeserver.services.spaces import MAX_DEPTH, Spaces
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result

MAX_LIMIT = 50
_PLACE = re.compile(r"h([0-9]{1,6})_([0-9]{1,2})_([01])", re.ASCII)


@frozen
class SpacesApi:
    """GET /hierarchy."""

    spaces: Spaces

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("GET", "/v1/rooms/{roomId}/hierarchy", self.hierarchy, auth=Auth.GUEST_OK, rate="other")
        ]

    async def hierarchy(self, call: Call) -> Result:
        depth = min(call.query.integer("max_depth", MAX_DEPTH, least=0), MAX_DEPTH)
        suggested_only = call.query.boolean("suggested_only", False)
        limit = max(1, page_limit(call, MAX_LIMIT, MAX_LIMIT))
        start = _place(call.query.string("from", None), depth, suggested_only)
        rooms = await self.spaces.hierarchy(
            call.path["roomId"],
            visitor(call),
            depth=depth,
            suggested_only=suggested_only,
            via=call.query.strings("via"),
        )
        answer: dict[str, Any] = {"rooms": rooms[start : start + limit]}
        if len(rooms) > start + limit:
            answer["next_batch"] = f"h{start + limit}_{depth}_{int(suggested_only)}"
        return answer


def _place(token: str | None, depth: int, suggested_only: bool) -> int:
    """A place is one in the tree that was asked for with the same parameters."""
    if token is None:
        return 0
    matched = _PLACE.fullmatch(token)
    if matched is None or (int(matched[2]), matched[3] == "1") != (depth, suggested_only):
        raise invalid_param("from is no token of this tree, or max_depth or suggested_only has changed")
    return int(matched[1])
