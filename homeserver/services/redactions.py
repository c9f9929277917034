"""Which redactions take effect, and what their targets look like then [rooms/v3 "Handling redactions"]."""

from collections.abc import Iterable

from attrs import evolve, frozen

from homeserver.core.auth.state import CREATE, POWER_LEVELS
from homeserver.core.event import event_from_pdu
from homeserver.core.ids import domain_of
from homeserver.core.power_levels import power_levels
from homeserver.core.redaction import redact
from homeserver.services.growth import Redacted
from homeserver.services.room_heads import Head, RoomHeads
from storage.database import Connection
from storage.events import StoredEvent
from storage.room_batches import RedactionRow


@frozen
class Redactions:
    """Judges redactions by the room's present state: a sender of the same server, or one with the level."""

    heads: RoomHeads

    async def target(self, conn: Connection, head: Head, sender: str, event_id: str) -> StoredEvent | None:
        """The event that a redaction by `sender` takes effect on, in redacted form; None if on none."""
        target = await self.heads.reader.by_id(conn, event_id)
        if target is None or not await self._may_redact(head, sender, target):
            return None
        return in_redacted_form(target)

    async def of_arrival(
        self, conn: Connection, head: Head, stored: StoredEvent
    ) -> tuple[tuple[RedactionRow, ...], tuple[Redacted, ...]]:
        """What an arriving event redacts, and what redacts it that came earlier."""
        event, rows, redacted = stored.event, [], []
        if event.redacts is not None:
            target = await self.target(conn, head, event.sender, event.redacts)
            rows.append(RedactionRow(stored.nid, event.redacts, target is not None))
            if target is not None:
                redacted.append(Redacted(target, stored.nid))
        for earlier in await self._waiting(conn, stored):
            if await self._may_redact(head, earlier.event.sender, stored):
                rows.append(RedactionRow(earlier.nid, event.event_id, True))
                redacted.append(Redacted(in_redacted_form(stored), earlier.nid))
        return tuple(rows), tuple(redacted)

    async def _waiting(self, conn: Connection, stored: StoredEvent) -> Iterable[StoredEvent]:
        rows = await conn.fetch(
            "SELECT redaction_nid FROM redactions WHERE redacts = $1 AND room_nid = $2",
            stored.event.event_id,
            stored.room.nid,
        )
        return (await self.heads.reader.by_nids(conn, [row[0] for row in rows])).values() if rows else ()

    async def _may_redact(self, head: Head, sender: str, target: StoredEvent) -> bool:
        if target.room.nid != head.room.nid or target.event.type == "m.room.create":
            return False
        if domain_of(sender) == domain_of(target.event.sender):
            return True
        await self.heads.ensure(head, [POWER_LEVELS, CREATE])
        levels = power_levels(head.event(POWER_LEVELS), head.event(CREATE), head.room.version)
        return levels.of(sender) >= levels.redact


def in_redacted_form(target: StoredEvent) -> StoredEvent:
    """The event as it is shown once a redaction took effect."""
    version = target.room.version
    event = event_from_pdu(redact(target.event.pdu, version), target.event.event_id, version)
    return evolve(target, event=event)
