"""Which redactions take effect, and what their targets look like then [rooms/v3 "Handling redactions"]."""

from collections.abc import Mapping, Sequence

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
        self,
        conn: Connection,
        head: Head,
        stored: StoredEvent,
        *,
        known: Mapping[str, StoredEvent],
        earlier: Mapping[str, Sequence[StoredEvent]],
    ) -> tuple[tuple[RedactionRow, ...], tuple[Redacted, ...]]:
        """What an arriving event redacts, and what redacts it that came earlier.

        `known` has events that may not be written yet, `earlier` the redactions that came before their targets.
        """
        event, rows, redacted = stored.event, [], []
        if event.redacts is not None:
            target = known.get(event.redacts) or await self.heads.reader.by_id(conn, event.redacts)
            applies = target is not None and await self._may_redact(head, event.sender, target)
            rows.append(RedactionRow(stored.nid, event.redacts, applies))
            if target is not None and applies:
                redacted.append(Redacted(in_redacted_form(target), stored.nid))
        for redaction in earlier.get(event.event_id, ()):
            if await self._may_redact(head, redaction.event.sender, stored):
                rows.append(RedactionRow(redaction.nid, event.event_id, True))
                redacted.append(Redacted(in_redacted_form(stored), redaction.nid))
        return tuple(rows), tuple(redacted)

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
