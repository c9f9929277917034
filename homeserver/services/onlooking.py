"""Looking into one room, in it or not: what happens there, and what stands beside its timeline [cs "Room previews"].

Everybody sees the room as `RoomAccess` lets them: members as it is, who has left as it was then, without what passes
by; others, where all the world may read it, like members.
"""

import asyncio
from typing import Any

from attrs import frozen

from homeserver.core.errors import MatrixError
from homeserver.core.tokens import SyncToken
from homeserver.services.aggregations import Aggregations
from homeserver.services.history import History, PageRequest
from homeserver.services.notifier import ActiveUser, Notifier
from homeserver.services.room_access import View, Visitor
from homeserver.services.sync_passing import Span, SyncPassing
from homeserver.services.sync_request import SyncRequest
from homeserver.services.unwanted import wishes
from storage.committer import Kind
from storage.database import Connection, Database
from storage.streams import current_position

MOST = 100  # events of one answer; its end then says where to go on


@frozen
class Seen:
    """What happened in (start, end]: events, and what passed by, in the form of clients."""

    start: int
    end: int
    events: list[Any]
    ephemeral: list[Any]
    presence: list[Any]

    @property
    def empty(self) -> bool:
        """Is there nothing to tell?"""
        return not (self.events or self.ephemeral or self.presence)


@frozen
class Beside:
    """What stands beside a room's timeline now, for one reader."""

    account_data: list[Any]
    receipts: list[Any]
    presence: list[Any]


@frozen
class Onlooking:
    """Reads one room for who looks into it."""

    database: Database
    notifier: Notifier
    history: History
    passing: SyncPassing
    aggregations: Aggregations

    async def news(self, room_id: str, reader: Visitor, since: int, timeout: float) -> Seen:
        """What is new since a position, or as soon as there is something. M_FORBIDDEN: none of their business."""
        until = asyncio.get_running_loop().time() + timeout
        async with self.database.read() as conn:
            room = (await self.history.access.view(conn, room_id, reader)).room
        with self.notifier.onlooker(reader.user_nid, room.nid) as onlooker:
            read_to = since
            while True:
                try:
                    seen = await self._read(room_id, reader, onlooker, read_to)
                except MatrixError:  # the room was closed to them while they waited
                    if read_to == since:
                        raise
                    return Seen(since, read_to, [], [], [])
                remaining = until - asyncio.get_running_loop().time()
                if not seen.empty or remaining <= 0:
                    return Seen(since, seen.end, seen.events, seen.ephemeral, seen.presence)
                read_to = seen.end
                if not await self.notifier.wait(onlooker, read_to, remaining):
                    return Seen(since, read_to, [], [], [])

    async def beside(self, conn: Connection, view: View) -> Beside:
        """What a room's first look tells beside messages and state."""
        user = ActiveUser(view.visitor.user_nid, floor=0)
        user.ignored, _ = await wishes(conn, user.user_nid)
        request = SyncRequest(user_id=view.visitor.user_id, user=user, device_nid=None)
        nid = view.room.nid
        now = await current_position(conn)
        account_data = await self.passing.account_data(conn, request, [nid], after=now)
        if view.until is not None:
            return Beside(account_data.get(nid, []), [], [])
        whole = Span(0, [nid], frozenset([nid]))
        told = await self.passing.ephemeral(conn, request, whole, {Kind.RECEIPTS})
        receipts = [event for event in told.get(nid, []) if event["type"] == "m.receipt"]
        members = await self.passing.of_members(conn, [nid])
        presence = await self.passing.presence_events(conn, request, members)
        return Beside(account_data.get(nid, []), receipts, presence)

    async def _read(self, room_id: str, reader: Visitor, onlooker: ActiveUser, since: int) -> Seen:
        async with self.database.read(snapshot=True) as conn:
            now = await current_position(conn)
            if since > now:  # from before the database was restored to an earlier time
                return Seen(since, now, [], [], [])
            view = await self.history.access.view(conn, room_id, reader)
            wanted = PageRequest(backwards=False, limit=MOST, start=since, stop=now)
            page = await self.history.page(conn, view, wanted)
            events = await self.aggregations.forms(conn, page.events, reader.audience)
            end = page.end if page.more and page.end is not None else now
            if view.until is not None:
                return Seen(since, end, list(events), [], [])
            kinds = self.notifier.kinds_since(onlooker, since, now)
            if onlooker.ignored is None:
                onlooker.ignored, onlooker.invite_rules = await wishes(conn, onlooker.user_nid)
            request = SyncRequest(
                user_id=reader.user_id, user=onlooker, device_nid=None, since=SyncToken(max(since, 0))
            )
            span = Span(since, [view.room.nid])
            ephemeral = await self.passing.ephemeral(conn, request, span, kinds)
            presence = await self.passing.presence(conn, request, span, changed=Kind.PRESENCE in kinds)
        return Seen(since, end, list(events), ephemeral.get(view.room.nid, []), presence)
