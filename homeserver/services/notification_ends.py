"""Notifications come to an end: those that all have read after a month, all others after half a year.

What is unread for longer is no longer counted, pushed or listed. In a room with somebody who never reads, and marks
threads as read but never the room, all stays for the half year.
"""

from attrs import frozen

from homeserver.services.now import Clock, now_ms
from storage import clock_marks, notifications
from storage.database import Database

DAY_MS = 24 * 60 * 60 * 1000
READ_KEPT = 30 * DAY_MS  # GET /notifications lists for so long what was read
KEPT = 180 * DAY_MS
ROOMS_AT_ONCE = 200


@frozen
class NotificationEnds:
    """Looks after them once a day."""

    database: Database
    clock: Clock = now_ms

    async def drop(self) -> None:
        """To be called now and then; does its work about once a day."""
        now = self.clock()
        async with self.database.transaction() as conn:
            if not await clock_marks.mark(conn, now, apart=DAY_MS, kept=2 * KEPT):
                return
            read = await clock_marks.position_at(conn, now - READ_KEPT)
            unread = await clock_marks.position_at(conn, now - KEPT)
        room_nid: int | None = 0
        while read and room_nid is not None:
            async with self.database.transaction() as conn:  # one a page: nobody's vacuum waits for all rooms
                rooms = await notifications.rooms_with_older(conn, room_nid, read, ROOMS_AT_ONCE)
                await notifications.forget(conn, rooms, read=read, unread=unread)
            room_nid = rooms[-1] if len(rooms) == ROOMS_AT_ONCE else None
