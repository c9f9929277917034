"""Who reads, and how much of it at once: what the requests about rooms have in common."""

from typing import Any

import orjson

from homeserver.core.errors import MatrixError, bad_json
from homeserver.core.filters import RoomEventFilter, parse_room_event_filter
from homeserver.core.tokens import parse_page_token
from homeserver.services.room_access import Visitor
from homeserver.web.call import Call
from homeserver.web.requester import Requester


def visitor(call: Call) -> Visitor:
    """The account that asks, as a reader of rooms."""
    return visitor_of(call.requester)


def visitor_of(requester: Requester) -> Visitor:
    """The same of a requester."""
    return Visitor(requester.user_id, requester.user_nid, requester.device_nid)


def page_limit(call: Call, default: int, most: int) -> int:
    """How much is wanted at once; more than `most` is never given."""
    return min(call.query.integer("limit", default, least=0), most)


def place(call: Call, name: str) -> int | None:
    """The place in the timeline that a token names, if there is one."""
    token = call.query.string(name, None)
    return parse_page_token(token) if token else None


def event_filter(call: Call) -> RoomEventFilter:
    """The filter of the query, as JSON."""
    text = call.query.string("filter", None)
    if text is None:
        return RoomEventFilter()
    try:
        definition: Any = orjson.loads(text)
    except orjson.JSONDecodeError as cause:
        raise MatrixError(400, "M_NOT_JSON", "filter must be JSON") from cause
    if not isinstance(definition, dict):
        raise bad_json("filter must be an object")
    return parse_room_event_filter(definition)
