"""Client-Server API, "Room previews": one look at a room, also for who is not in it [cs "Old room initialSync"]."""

from typing import Any

from attrs import frozen

from client_api.old_forms import old_events, old_presence
from client_api.room_events import plain_forms
from client_api.visitor import page_limit, visitor
from homeserver.core.tokens import page_token
from homeserver.services.history import PageRequest
from homeserver.services.onlooking import Onlooking
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result
from storage import directory

MESSAGES, MAX_MESSAGES = 20, 100


@frozen
class RoomInitialSync:
    """GET /rooms/{roomId}/initialSync."""

    onlooking: Onlooking

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("GET", "/v3/rooms/{roomId}/initialSync", self.look, auth=Auth.GUEST_OK)]

    async def look(self, call: Call) -> Result:
        reader, history = visitor(call), self.onlooking.history
        wanted = PageRequest(backwards=True, limit=page_limit(call, MESSAGES, MAX_MESSAGES))
        async with self.onlooking.database.read() as conn:
            view = await history.access.view(conn, call.path["roomId"], reader)
            page = await history.page(conn, view, wanted)
            forms = await self.onlooking.aggregations.forms(conn, page.events[::-1], reader.audience)
            published = await directory.is_published(conn, view.room.nid)
            beside = await self.onlooking.beside(conn, view)
        state = await history.reading.state(view.room.room_id, reader)
        answer: dict[str, Any] = {
            "room_id": view.room.room_id,
            "visibility": "public" if published else "private",
            "messages": {
                "chunk": forms,
                "start": page_token(page.end if page.end is not None else page.start),
                "end": page_token(page.start),
            },
            "state": await plain_forms(state, user_id=True),
            "account_data": beside.account_data,
            "receipts": old_events(view.room.room_id, beside.receipts),
            "presence": old_presence(beside.presence),
        }
        return answer if view.membership is None else {**answer, "membership": view.membership}
