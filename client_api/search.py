"""Client-Server API, "Server Side Search"."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from attrs import evolve, field, frozen

from client_api.room_events import plain_forms
from client_api.visitor import visitor
from homeserver.core.errors import bad_json, invalid_param
from homeserver.core.filters import parse_room_event_filter
from homeserver.core.tokens import page_token
from homeserver.services.aggregations import Aggregations
from homeserver.services.finding.search import PARTS, SETTLE, Found, MessageSearch, Result, Wanted, in_group
from homeserver.services.history import History, PageRequest
from homeserver.services.notifier import Notifier
from homeserver.services.room_access import Visitor
from homeserver.web import fields
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result as Answer
from storage.database import Connection, Database

MAX_RESULTS = 100
MAX_CONTEXT = 20  # events on each side of a result
GROUPS = ("room_id", "sender")


@frozen
class Around:
    """How much of a result's surroundings is wanted."""

    before: int
    after: int
    profiles: bool


@frozen
class Criteria:
    """What a request asks for, beside the search itself."""

    wanted: Wanted
    around: Around | None = None
    state: bool = False
    groups: Sequence[str] = field(default=())


@frozen
class SearchApi:
    """POST /search [cs "Server Side Search"]."""

    database: Database
    search: MessageSearch
    history: History
    aggregations: Aggregations
    notifier: Notifier

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("POST", "/v3/search", self.find, rate="other")]

    async def find(self, call: Call) -> Answer:
        asked = call.field("search_categories", dict).get("room_events")
        if asked is None:
            return {"search_categories": {}}
        if not isinstance(asked, dict):
            raise bad_json("room_events must be an object")
        criteria = _criteria(asked)
        token = call.query.string("next_batch", None)
        wanted, group = criteria.wanted, None
        if token:
            wanted, group = _continued(wanted, token)
        reader = visitor(call)
        await self.search.follower.reached(self.notifier.position, SETTLE)
        async with self.database.read() as conn:
            found = await self.search.find(conn, reader, wanted)
            answer = await self._told(conn, reader, found, criteria)
        if found.after is not None:
            answer["next_batch"] = _token(group, found.after)
        if criteria.state:
            rooms = {result.view.room.room_id for result in found.results}
            answer["state"] = {room_id: await self._state(room_id, reader) for room_id in sorted(rooms)}
        return {"search_categories": {"room_events": answer}}

    async def _told(
        self, conn: Connection, reader: Visitor, found: Found, criteria: Criteria
    ) -> dict[str, Any]:
        events = [result.event for result in found.results]
        known = {result.event.nid: result.membership for result in found.results}
        forms = await self.aggregations.forms(conn, events, reader.audience, memberships=known)
        results: list[dict[str, Any]] = []
        for result, form in zip(found.results, forms, strict=True):
            told: dict[str, Any] = {"rank": result.rank, "result": form}
            if criteria.around is not None:
                told["context"] = await self._context(conn, reader, result, criteria.around)
            results.append(told)
        answer = {"count": found.count, "results": results, "highlights": list(found.highlights)}
        groups = {key: _grouped(key, found) for key in criteria.groups}
        return {**answer, "groups": groups} if groups else answer

    async def _context(
        self, conn: Connection, reader: Visitor, result: Result, around: Around
    ) -> dict[str, Any]:
        """What was said before and after, as /context tells it."""
        place = result.event.position or 0
        older = PageRequest(backwards=True, limit=around.before, start=place - 1)
        newer = PageRequest(backwards=False, limit=around.after, start=place)
        before = await self.history.page(conn, result.view, older)
        after = await self.history.page(conn, result.view, newer)
        told = [*before.events, *after.events]
        forms = await self.aggregations.forms(conn, told, reader.audience)
        split = len(before.events)
        context: dict[str, Any] = {
            "events_before": forms[:split],
            "events_after": forms[split:],
            "start": page_token(before.end if before.end is not None else before.start),
            "end": page_token(after.end if after.end is not None else place),
        }
        if around.profiles:
            senders = {stored.event.sender for stored in [result.event, *told]}
            members = await self.history.reading.members_at(conn, result.event, senders)
            context["profile_info"] = {
                stored.event.state_key: _profile(stored.event.content) for stored in members
            }
        return context

    async def _state(self, room_id: str, reader: Visitor) -> list[Any]:
        return list(await plain_forms(await self.history.reading.state(room_id, reader)))


def _criteria(asked: dict[str, Any]) -> Criteria:
    """The criteria for room events. Raises M_BAD_JSON, M_MISSING_PARAM, M_INVALID_PARAM."""
    kept = parse_room_event_filter(fields.optional(asked, "filter", dict, {}))
    order = fields.optional(asked, "order_by", str, "rank")
    if order not in ("rank", "recent"):
        raise invalid_param("order_by must be rank or recent")
    keys = fields.strings(asked, "keys") if asked.get("keys") is not None else list(PARTS)
    if not all(key in PARTS for key in keys):
        raise invalid_param(f"keys must be some of: {', '.join(PARTS)}")
    limit = 10 if kept.limit is None else min(kept.limit, MAX_RESULTS)
    wanted = Wanted(
        term=fields.required(asked, "search_term", str),
        parts=[PARTS[key] for key in keys],
        filter=kept,
        recent=order == "recent",
        limit=limit,
    )
    state = fields.optional(asked, "include_state", bool, False)
    return Criteria(wanted, _around(asked), state, _groups(asked))


def _around(asked: dict[str, Any]) -> Around | None:
    context = fields.optional(asked, "event_context", dict)
    if context is None:
        return None
    before = fields.optional(context, "before_limit", int, 5)
    after = fields.optional(context, "after_limit", int, 5)
    if before < 0 or after < 0:
        raise invalid_param("before_limit and after_limit must not be negative")
    profiles = fields.optional(context, "include_profile", bool, False)
    return Around(min(before, MAX_CONTEXT), min(after, MAX_CONTEXT), profiles)


def _groups(asked: dict[str, Any]) -> list[str]:
    groupings = fields.optional(asked, "groupings", dict, {})
    listed = fields.objects(groupings, "group_by") if groupings.get("group_by") is not None else []
    keys = [fields.required(item, "key", str) for item in listed]
    if not all(key in GROUPS for key in keys):
        raise invalid_param(f"Results can be grouped by: {', '.join(GROUPS)}")
    return list(dict.fromkeys(keys))


def _grouped(key: str, found: Found) -> dict[str, Any]:
    """The groups in the order of their best results, each with a token for more of it."""
    groups: dict[str, Any] = {}
    for result in found.results:
        event = result.event.event
        value = event.sender if key == "sender" else result.view.room.room_id
        group = groups.setdefault(value, {"results": [], "order": len(groups)})
        group["results"].append(event.event_id)
    if found.after is not None:
        for value, group in groups.items():
            group["next_batch"] = _token((key, value), found.after)
    return groups


def _token(group: tuple[str, str] | None, after: tuple[float, int]) -> str:
    return urlsafe_b64encode(orjson.dumps([*(group or ("", "")), *after])).decode().rstrip("=")


def _continued(wanted: Wanted, token: str) -> tuple[Wanted, tuple[str, str] | None]:
    """The search from where a token stands on. Raises M_INVALID_PARAM."""
    try:
        key, value, rank, nid = orjson.loads(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, TypeError) as cause:
        raise invalid_param("next_batch is no token of this server") from cause
    good = isinstance(value, str) and isinstance(rank, (int, float)) and type(nid) is int and abs(nid) < 2**62
    if not good or key not in ("", *GROUPS):
        raise invalid_param("next_batch is no token of this server")
    further = evolve(wanted, after=(float(rank), nid))
    return (in_group(further, key, value), (key, value)) if key else (further, None)


def _profile(content: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: content.get(name) for name in ("displayname", "avatar_url")}
    return {name: value for name, value in told.items() if isinstance(value, str)}
