"""What is pushed to application services: read for all that stand at the same place of the clock together.

The cost goes with what happened, not with how many services, rooms or users there are: one snapshot, a handful of
statements for a page, of which each service gets what it cares for. [as "Pushing events"]
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson
from attrs import evolve, frozen

from homeserver.core.application_services import ApplicationService
from homeserver.core.client_event import client_form
from homeserver.services.application_services.interest import Interests, Page
from homeserver.services.application_services.news import Hints
from homeserver.services.application_services.passing import PassingBy
from homeserver.services.client_events import Audience, ClientEvents
from homeserver.services.now import now_ms
from storage import application_services as rows
from storage.application_services import Outlier, PassingEvent
from storage.committer import Kind
from storage.database import Connection, Database
from storage.events import StoredEvent
from storage.streams import current_position

SPAN = 500  # numbers of the clock in one page
MAX_EVENTS = 100  # events in one transaction


@frozen
class Content:
    """The next transaction of a service, or (no body) that there is nothing up to a position."""

    upto: int
    body: bytes | None
    device_nids: Sequence[int] = ()


@frozen
class _Told:
    """What one service is told of a page."""

    upto: int
    event_nids: Sequence[int]
    outliers: Sequence[Outlier]


@frozen
class Contents:
    """Reads pages."""

    database: Database
    interests: Interests
    events: ClientEvents
    passing: PassingBy

    async def next(
        self, services: Sequence[ApplicationService], after: int, hints: Hints
    ) -> dict[str, Content]:
        """What comes next for services that have everything up to `after`, by their ids."""
        async with self.database.read(snapshot=True) as conn:
            page = await self._page(conn, after, hints)
            cares = await self.interests.in_page(conn, page)
            outliers = await self._outliers(conn, page, hints)
            inboxes = {one.id: await self.passing.letters(conn, one, page, hints) for one in services}
            told = {
                one.id: _told(one.id, evolve(page, upto=inboxes[one.id].upto), cares, outliers)
                for one in services
            }
            forms = await self._forms(conn, told)
            made = {}
            for one in services:
                mine = told[one.id]
                letters = [letter for letter in inboxes[one.id].letters if letter.position <= mine.upto]
                more = await self.passing.of(conn, one, evolve(page, upto=mine.upto), hints, letters=letters)
                events = [forms[nid] for nid in mine.event_nids if nid in forms]
                body = orjson.dumps({"events": events, **more}) if events or more else None
                made[one.id] = Content(mine.upto, body, sorted({letter.device_nid for letter in letters}))
        return made

    async def _page(self, conn: Connection, after: int, hints: Hints) -> Page:
        now = await current_position(conn)
        upto = max(after, min(hints.position, after + SPAN))  # of what came since, nobody has told yet where
        room_nids = None if hints.everywhere else hints.rooms
        events = await rows.events_between(conn, after, upto, room_nids) if room_nids != set() else []
        return Page(after, upto, now, events)

    async def _outliers(
        self, conn: Connection, page: Page, hints: Hints
    ) -> list[tuple[Outlier, frozenset[str]]]:
        """Invitations to rooms that we are not in, with whose users they are for."""
        if not hints.everywhere and not hints.users.get(Kind.EVENTS):
            return []
        found = await rows.outliers_between(conn, page.after, page.upto)
        ids = await self.interests.of_users(conn, {one.user_nid for one in found}) if found else {}
        return [(one, ids[one.user_nid]) for one in found if ids.get(one.user_nid)]

    async def _forms(self, conn: Connection, told: Mapping[str, _Told]) -> dict[int, orjson.Fragment]:
        """The events as clients see them [cs "Room event format"]."""
        nids = {nid for one in told.values() for nid in one.event_nids}
        if not nids:
            return {}
        stored = await self.events.reader.by_nids(conn, nids)
        outside = {one.event_nid: one for mine in told.values() for one in mine.outliers}
        inside = [event for nid, event in stored.items() if nid not in outside]
        forms = await self.events.forms(conn, inside, Audience())
        made = {event.nid: form for event, form in zip(inside, forms, strict=True)}
        now = now_ms()
        made |= {nid: _outside(stored[nid], one, now) for nid, one in outside.items() if nid in stored}
        return made


def _told(
    service_id: str,
    page: Page,
    cares: Mapping[int, Collection[str]],
    outliers: Sequence[tuple[Outlier, frozenset[str]]],
) -> _Told:
    """The oldest events that a service cares for, as many as go into a transaction, and up to where they are all."""
    inside: list[PassingEvent | Outlier] = [
        event for event in page.events if service_id in cares.get(event.event_nid, ())
    ]
    outside = [one for one, ids in outliers if service_id in ids]
    found = (one for one in (*inside, *outside) if one.position <= page.upto)
    mine = sorted(found, key=lambda one: one.position)
    kept = mine[:MAX_EVENTS]
    upto = kept[-1].position if len(mine) > MAX_EVENTS else page.upto
    return _Told(upto, [one.event_nid for one in kept], [one for one in kept if isinstance(one, Outlier)])


def _outside(stored: StoredEvent, outlier: Outlier, now: int) -> orjson.Fragment:
    """An invitation, with what is known of its room."""
    told: dict[str, Any] = {"age": now - stored.event.origin_server_ts}
    if outlier.stripped_state is not None:
        told["invite_room_state"] = orjson.Fragment(outlier.stripped_state)
    return client_form(stored.event, told, room_id=True)
