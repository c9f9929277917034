"""What users find inappropriate is kept for the operator [cs "Reporting Content"]."""

import structlog
from attrs import frozen

from homeserver.core.errors import MatrixError, limit_exceeded, not_found
from homeserver.core.ids import is_user_id
from homeserver.services.now import Clock, now_ms
from homeserver.services.room_access import Visitor
from homeserver.services.room_reading import RoomReading
from storage.database import Database
from storage.reports import Report, count_of_reporter, insert_report, user_is_known

log = structlog.get_logger(__name__)

MAX_REASON = 2_000  # characters that are kept
HOUR = 3_600_000
MAX_IN_AN_HOUR = 100  # of one user


@frozen
class Reporting:
    """Takes reports."""

    database: Database
    reading: RoomReading
    clock: Clock = now_ms

    async def event(self, visitor: Visitor, room_id: str, event_id: str, reason: str | None) -> None:
        """An event that the reporter can see, in a room that they are in. Raises M_NOT_FOUND."""
        async with self.database.read() as conn:
            try:
                await self.reading.access.joined(conn, room_id, visitor)
                stored = await self.reading.event(conn, room_id, visitor, event_id)
            except MatrixError as cause:
                raise not_found("You see no such event") from cause
        await self._keep(
            Report(
                received_ts=self.clock(),
                reporter_nid=visitor.user_nid,
                room_id=room_id,
                event_id=event_id,
                user_id=stored.event.sender,
                reason=reason,
            )
        )

    async def room(self, visitor: Visitor, room_id: str, reason: str) -> None:
        """A room, whether or not the reporter is in it. Raises M_NOT_FOUND where we know no such room."""
        async with self.database.read() as conn:
            room = await self.reading.reader.rooms.find(conn, room_id)
        if room is None:
            raise not_found("This server does not know the room")
        now, who = self.clock(), visitor.user_nid
        await self._keep(Report(received_ts=now, reporter_nid=who, room_id=room_id, reason=reason))

    async def user(self, visitor: Visitor, user_id: str, reason: str) -> None:
        """A user of any server. Raises M_NOT_FOUND where we know no such user."""
        async with self.database.read() as conn:
            if not is_user_id(user_id) or not await user_is_known(conn, user_id):
                raise not_found("This server does not know the user")
        now, who = self.clock(), visitor.user_nid
        await self._keep(Report(received_ts=now, reporter_nid=who, user_id=user_id, reason=reason))

    async def _keep(self, report: Report) -> None:
        async with self.database.read() as conn:
            lately = await count_of_reporter(conn, report.reporter_nid, report.received_ts - HOUR)
        if lately >= MAX_IN_AN_HOUR:
            raise limit_exceeded(HOUR)
        async with self.database.writer() as conn:
            await insert_report(conn, report)
        log.warning(
            "a user reports something",
            room_id=report.room_id,
            event_id=report.event_id,
            user_id=report.user_id,
        )
