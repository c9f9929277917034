"""Client-Server API, "Room previews": one look at a room, also for who is not in it [cs "Old room initialSync"]."""

from typing import Any

from attrs import frozen

from client_api.room_events import plain_forms
from client_api.visitor import visitor
from homeserver.core.tokens import page_token
from homeserver.services.aggregations import Aggregations
from homeserver.services.history import History, PageRequest
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result
from storage import directory
from storage.database import Database

MESSAGES = 20


@frozen
class RoomInitialSync:
    """GET /rooms/{roomId}/initialSync."""

    database: Database
    history: History
    aggregations: Aggregations

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("GET", "/v3/rooms/{roomId}/initialSync", self.look, auth=Auth.GUEST_OK)]

    async def look(self, call: Call) -> Result:
        reader = visitor(call)
        async with self.database.read() as conn:
            view = await self.history.access.view(conn, call.path["roomId"], reader)
            page = await self.history.page(conn, view, PageRequest(backwards=True, limit=MESSAGES))
            forms = await self.aggregations.forms(conn, page.events[::-1], reader.audience)
            published = await directory.is_published(conn, view.room.nid)
        state = await self.history.reading.state(view.room.room_id, reader)
        answer: dict[str, Any] = {
            "room_id": view.room.room_id,
            "visibility": "public" if published else "private",
            "messages": {
                "chunk": forms,
                "start": page_token(page.end if page.end is not None else page.start),
                "end": page_token(page.start),
            },
            "state": await plain_forms(state),
        }
        return answer if view.membership is None else {**answer, "membership": view.membership}
