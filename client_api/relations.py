"""Client-Server API, "Relationships API" and "Querying threads in a room"."""

from typing import Any

from attrs import frozen

from client_api.visitor import page_limit, place, visitor
from homeserver.core.tokens import page_token
from homeserver.services.aggregations import Aggregations
from homeserver.services.history import PageRequest
from homeserver.services.related import RelatedEvents, Relating
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result
from storage.database import Database

DEFAULT_LIMIT = 20


@frozen
class Relations:
    """Events by how they relate."""

    database: Database
    related: RelatedEvents
    aggregations: Aggregations
    max_limit: int

    def endpoints(self) -> list[Endpoint]:
        path = "/v1/rooms/{roomId}/relations/{eventId}"
        return [
            Endpoint(
                "GET",
                path + "/{relType}/{eventType}",
                self.children,
                also=(path + "/{relType}", path, "/unstable/rooms/{roomId}/relations/{eventId}"),
                auth=Auth.GUEST_OK,
            ),
            Endpoint("GET", "/v1/rooms/{roomId}/threads", self.threads, auth=Auth.GUEST_OK),
        ]

    async def children(self, call: Call) -> Result:
        recurse = call.query.boolean("recurse", False)
        relating = Relating(
            call.path["eventId"], call.path.get("relType"), call.path.get("eventType"), recurse
        )
        wanted = PageRequest(
            backwards=call.query.choice("dir", ("b", "f"), "b") == "b",
            limit=max(1, page_limit(call, DEFAULT_LIMIT, self.max_limit)),
            start=place(call, "from"),
            stop=place(call, "to"),
        )
        reader = visitor(call)
        async with self.database.read() as conn:
            view = await self.related.access.view(conn, call.path["roomId"], reader)
            page, depth = await self.related.children(conn, view, relating, wanted)
            forms = await self.aggregations.forms(conn, page.events, reader.audience)
        answer: dict[str, Any] = {"chunk": forms}
        if page.end is not None:
            answer["next_batch"] = page_token(page.end)
        if wanted.start is not None:
            answer["prev_batch"] = page_token(wanted.start)
        if recurse:
            answer["recursion_depth"] = depth
        return answer

    async def threads(self, call: Call) -> Result:
        participated = call.query.choice("include", ("all", "participated"), "all") == "participated"
        wanted = PageRequest(
            backwards=True,
            limit=max(1, page_limit(call, DEFAULT_LIMIT, self.max_limit)),
            start=place(call, "from"),
        )
        reader = visitor(call)
        async with self.database.read() as conn:
            view = await self.related.access.view(conn, call.path["roomId"], reader)
            roots, more = await self.related.threads(conn, view, wanted, participated=participated)
            forms = await self.aggregations.forms(conn, roots, reader.audience)
        return {"chunk": forms} if more is None else {"chunk": forms, "next_batch": page_token(more)}
