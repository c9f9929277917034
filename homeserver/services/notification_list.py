"""What a user was notified of, latest first [cs "Listing Notifications"]."""

from collections.abc import Mapping
from typing import Any

import orjson
from attrs import frozen

from homeserver.core.client_event import client_form
from homeserver.services.client_events import Audience, ClientEvents, unsigned
from homeserver.services.now import now_ms
from homeserver.services.unwanted import wishes
from storage import notifications
from storage.database import Connection, Database
from storage.notifications import Notification
from storage.state_keys import StateKeys, user_key


@frozen
class Page:
    """Which notifications: before a position, so many at most, highlights only."""

    before: int
    limit: int
    highlights: bool


@frozen
class NotificationList:
    """Lists notifications."""

    database: Database
    events: ClientEvents
    state_keys: StateKeys

    async def page(self, audience: Audience, page: Page) -> tuple[list[Mapping[str, Any]], int | None]:
        """The notifications of a page, and where the next one begins if there may be more."""
        assert audience.user_nid is not None
        async with self.database.read(snapshot=True) as conn:
            ignored, _ = await wishes(conn, audience.user_nid)
            nids = await self.state_keys.find(conn, map(user_key, ignored)) if ignored else {}
            found = await notifications.listed(
                conn,
                audience.user_nid,
                before=page.before,
                limit=page.limit,
                highlights=page.highlights,
                ignored=list(nids.values()),
            )
            told = await self._told(conn, audience, found)
        return told, found[-1].position if len(found) == page.limit else None

    async def _told(
        self, conn: Connection, audience: Audience, found: list[Notification]
    ) -> list[Mapping[str, Any]]:
        events = await self.events.reader.by_nids(conn, [one.event_nid for one in found])
        facts = await self.events.facts(conn, list(events.values()), {})
        now = now_ms()
        return [
            {
                "actions": orjson.Fragment(one.actions),
                "event": client_form(stored.event, unsigned(stored, facts, audience, now), room_id=False),
                "profile_tag": "",  # of pushers; rules have had none since there is but one scope. COMPAT(SyTest)
                "read": one.read,
                "room_id": stored.room.room_id,
                "ts": stored.event.origin_server_ts,
            }
            for one in found
            if (stored := events.get(one.event_nid)) is not None
        ]
