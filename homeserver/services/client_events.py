"""Events as one reader may see them: the client form with the `unsigned` facts of this reader and moment.

Everything that is not in the events is loaded for all of them together: the entries that state events replaced,
the redactions of redacted ones, and the reader's membership at each event.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from attrs import frozen

from homeserver.core.client_event import client_form
from homeserver.core.event import Event
from homeserver.services.histories import Histories, load_histories
from homeserver.services.now import now_ms
from homeserver.services.redactions import in_redacted_form
from storage import room_state
from storage.accounts import erased_among
from storage.database import Connection
from storage.delayed_events import txn_device
from storage.events import EventReader, StoredEvent

_NO_RELATIONS: Mapping[str, Mapping[str, Any]] = {}


@frozen
class Audience:
    """Who reads, by number: only the device that sent an event is told its transaction id."""

    user_nid: int | None = None
    device_nid: int | None = None


@frozen
class Facts:
    """What is told beside events, by event number: what they replaced, what redacted them, the reader's membership."""

    replaced: Mapping[int, StoredEvent]
    redactions: Mapping[int, StoredEvent]
    memberships: Mapping[int, str]
    erased: frozenset[int] = frozenset()

    def shown(self, stored: StoredEvent) -> Event:
        """The event, redacted where its sender wished to be forgotten before the reader came."""
        return in_redacted_form(stored).event if stored.nid in self.erased else stored.event


@frozen
class ClientEvents:
    """Makes the client form of stored events."""

    reader: EventReader

    async def forms(
        self,
        conn: Connection,
        events: Sequence[StoredEvent],
        audience: Audience,
        *,
        room_id: bool = True,
        relations: Mapping[str, Mapping[str, Any]] = _NO_RELATIONS,
        memberships: Mapping[int, str] | None = None,
    ) -> list[orjson.Fragment]:
        """The client forms in the order of `events`.

        `relations` has their bundled aggregations by event id, `memberships` those of the reader where they are known.
        """
        if memberships is None:
            memberships = await self.memberships(conn, events, audience)
        facts = await self.facts(conn, events, memberships)
        now = now_ms()
        return [
            client_form(
                facts.shown(stored),
                unsigned(stored, facts, audience, now, relations.get(stored.event.event_id)),
                room_id=room_id,
            )
            for stored in events
        ]

    async def form(self, conn: Connection, event: StoredEvent, audience: Audience) -> orjson.Fragment:
        """The client form of one event, with its room id."""
        return (await self.forms(conn, [event], audience))[0]

    async def facts(
        self, conn: Connection, events: Iterable[StoredEvent], memberships: Mapping[int, str]
    ) -> Facts:
        """What `events` replaced and what redacted them."""
        told = list(events)
        lines = {
            (stored.room.nid, stored.key_nid, stored.line_sp): stored.nid
            for stored in told
            if stored.on_line and stored.key_nid is not None and stored.line_sp is not None
        }
        before = await room_state.replaced(conn, list(lines)) if lines else {}
        replaced = {lines[entry]: nid for entry, nid in before.items()}
        redactions = {stored.nid: stored.redacted_by for stored in told if stored.redacted_by is not None}
        nids = {*replaced.values(), *redactions.values()}
        found = await self.reader.by_nids(conn, nids) if nids else {}
        return Facts(
            {nid: found[other] for nid, other in replaced.items() if other in found},
            {nid: found[other] for nid, other in redactions.items() if other in found},
            memberships,
            await _erased(conn, [one for one in told if memberships.get(one.nid, "join") != "join"]),
        )

    async def memberships(
        self, conn: Connection, events: Sequence[StoredEvent], audience: Audience
    ) -> dict[int, str]:
        """The reader's membership at each event, changes caused by the event included [MSC4115]."""
        if audience.user_nid is None or not events:
            return {}
        histories = await load_histories(conn, self.reader, events, [audience.user_nid])
        return memberships_at(histories, events, audience.user_nid)


def memberships_at(histories: Histories, events: Iterable[StoredEvent], user_nid: int) -> dict[int, str]:
    """A user's membership at each event, by event number."""
    return {
        stored.nid: _membership(histories.after(stored, user_nid))
        for stored in events
        if stored.state_sp is not None
    }


async def _erased(conn: Connection, events: Sequence[StoredEvent]) -> frozenset[int]:
    """Those of the events, at which the reader was not in the room, whose senders had their account erased.

    Who saw them may go on seeing them [cs "POST /account/deactivate"]. State stays: the room is made of it.
    """
    said = [stored for stored in events if not stored.event.is_state]
    senders = await erased_among(conn, {stored.event.sender for stored in said}) if said else set()
    return frozenset(stored.nid for stored in said if stored.event.sender in senders)


def unsigned(
    stored: StoredEvent,
    facts: Facts,
    audience: Audience,
    now: int,
    relations: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The `unsigned` of one event for one reader [cs "Room event format"]."""
    event = stored.event
    told: dict[str, Any] = {"age": now - event.origin_server_ts}
    membership = facts.memberships.get(stored.nid)
    if membership is not None:
        told["membership"] = membership
    if stored.txn_id is not None and stored.txn_device == audience.device_nid:
        told["transaction_id"] = stored.txn_id[1:]  # the first letter tells kinds of requests apart
    if (
        audience.user_nid is not None
        and stored.txn_device == txn_device(audience.user_nid)
        and (stored.txn_id or "").startswith("d")  # not what an application service's user sent by no device
    ):
        told |= delay_id(stored)
    replaced = facts.replaced.get(stored.nid)
    if replaced is not None:
        told["replaces_state"] = replaced.event.event_id
        told["prev_content"] = replaced.event.content
        told["prev_sender"] = replaced.event.sender
    redaction = facts.redactions.get(stored.nid)
    if redaction is not None:
        told["redacted_by"] = redaction.event.event_id
        told["redacted_because"] = client_form(
            redaction.event, {"age": now - redaction.event.origin_server_ts}, room_id=True
        )
    if relations:
        told["m.relations"] = relations
    return told


def delay_id(stored: StoredEvent) -> dict[str, str]:
    """What tells the sender which delayed event this is [MSC4140]; under the name of clients of today, too."""
    assert stored.txn_id is not None
    return dict.fromkeys(("delay_id", "org.matrix.msc4140.delay_id"), stored.txn_id[1:])


def _membership(entry: StoredEvent | None) -> str:
    return (entry.event.membership if entry is not None else None) or "leave"
