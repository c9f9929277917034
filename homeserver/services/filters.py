"""The filters that users uploaded or send along [cs "Filtering"]."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

import orjson
from attrs import define, field

from homeserver.core.errors import MatrixError, bad_json, invalid_param, not_found
from homeserver.core.filters import (
    JSONObject,
    RoomEventFilter,
    SyncFilter,
    parse_room_event_filter,
    parse_sync_filter,
)
from storage.database import Database
from storage.filters import find_filter, store_filter

F = TypeVar("F", SyncFilter, RoomEventFilter)

MAX_CACHED = 10_000
LONGEST_CACHED = 2_000  # characters of a filter that stands in its request
MAX_DEFINITION = 65_536  # bytes
_MAX_ID = 2**31 - 1
EVERYTHING = SyncFilter()


@define(eq=False)
class Filters:
    """Finds filters by what a request says about them; stored ones never change, so parsed ones are remembered."""

    database: Database
    _parsed: OrderedDict[tuple[int, str], SyncFilter] = field(factory=OrderedDict, init=False)

    async def store(self, user_nid: int, definition: dict[str, Any]) -> str:
        """Keep a filter; its id."""
        parse_sync_filter(definition)
        if len(orjson.dumps(definition)) > MAX_DEFINITION:
            raise MatrixError(413, "M_TOO_LARGE", "The filter is too large")
        async with self.database.transaction() as conn:
            return str(await store_filter(conn, user_nid, definition))

    async def definition(self, user_nid: int, filter_id: str) -> JSONObject:
        """A filter as it was uploaded. Raises M_NOT_FOUND."""
        number = int(filter_id) if filter_id.isascii() and filter_id.isdecimal() else -1
        found = None
        if 0 <= number <= _MAX_ID:
            async with self.database.read() as conn:
                found = await find_filter(conn, user_nid, number)
        if found is None:
            raise not_found("There is no such filter")
        return found

    async def of_request(self, user_nid: int, text: str | None) -> SyncFilter:
        """What `filter` of /sync means: an id, a definition, or nothing."""
        if not text:
            return EVERYTHING
        key = (user_nid, text)
        found = self._parsed.get(key)
        if found is None:
            found = await self._read(user_nid, text)
            if len(text) <= LONGEST_CACHED:
                self._parsed[key] = found
            if len(self._parsed) > MAX_CACHED:
                self._parsed.popitem(last=False)
        return found

    async def _read(self, user_nid: int, text: str) -> SyncFilter:
        if text.startswith("{"):
            return inline(text, parse_sync_filter)
        try:
            return parse_sync_filter(await self.definition(user_nid, text))
        except MatrixError as cause:
            raise invalid_param("filter must be the id of a filter of yours, or a filter") from cause


def inline(text: str, parse: Callable[[JSONObject], F]) -> F:
    """A filter that stands in the request itself. Raises M_INVALID_PARAM or M_BAD_JSON."""
    try:
        definition = orjson.loads(text)
    except orjson.JSONDecodeError as cause:
        raise invalid_param("filter is not valid JSON") from cause
    if not isinstance(definition, dict):
        raise bad_json("filter must be an object")
    return parse(definition)


def room_event_filter(text: str | None) -> RoomEventFilter:
    """What `filter` of /messages, /context and their like means."""
    return inline(text, parse_room_event_filter) if text else RoomEventFilter()
