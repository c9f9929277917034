"""Events that are made here but not written yet: others have to sign them first, or will make them their own.

A template for a server that enters, leaves or knocks, and an invite that the invited server signs too, are built and
judged on the room as it is now. Nothing is kept: when the finished event comes, it is received like any other, on a
fork if the room has moved on meanwhile.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from homeserver.core.auth.rejection import Rejected
from homeserver.core.auth.rules import check_auth
from homeserver.core.auth.state import AuthState
from homeserver.core.canonical_json import MAX_INTEGER, NotCanonical
from homeserver.core.errors import bad_json, forbidden, too_large
from homeserver.core.event import StateKey
from homeserver.core.event_build import Built, Draft, Place, build_event
from homeserver.core.event_format import EventTooLarge
from homeserver.services.growth import MAX_PREV_EVENTS, chosen_event_id, judging, naming
from homeserver.services.room_heads import Head, link_hash
from homeserver.services.timeline import Timeline
from storage.events import StoredEvent
from storage.rooms import Room


@frozen
class Proposal:
    """An event that the room's rules allow now, signed by us."""

    room: Room
    built: Built

    def template(self) -> dict[str, Any]:
        """The event for another server to finish [ss "Joining Rooms"]."""
        ours = ("hashes", "signatures", "event_id")
        return {name: value for name, value in self.built.event.pdu.items() if name not in ours}


@frozen
class Proposals:
    """Builds events on rooms' heads."""

    timeline: Timeline

    async def propose(self, draft: Draft) -> Proposal:
        """The event, by the rules. Raises M_FORBIDDEN with the reason, M_NOT_FOUND for a room we do not have."""
        head = await self.timeline.head(draft.room_id)
        async with head.lock:
            await head.settled()  # another server must find what the event points at
            await self.timeline.heads.ensure(head, judging(draft, head.room.version))
            return self._built(head, draft)

    def _built(self, head: Head, draft: Draft) -> Proposal:
        version = head.room.version
        place = self._place(head, draft)
        try:
            built = build_event(draft, place, self.timeline.identity.signer)
        except EventTooLarge as cause:
            raise too_large(str(cause)) from cause
        except NotCanonical as cause:
            raise bad_json(f"The content has no canonical form: {cause}") from cause
        try:
            # Whoever authorizes a restricted join is of this server, which signs when the event comes back.
            check_auth(built.event, AuthState(head.events(judging(draft, version)), version))
        except Rejected as rejected:
            raise forbidden(rejected.reason) from rejected
        return Proposal(head.room, built)

    def _place(self, head: Head, draft: Draft) -> Place:
        version = head.room.version
        auth = _entries(head, naming(draft, version))
        hashes: Mapping[str, str] = {}
        if version.event_id_in_pdu:
            hashes = head.hashes | {entry.event.event_id: link_hash(entry.event) for entry in auth}
        return Place(
            version=version,
            prev_events=tuple(event_id for _, event_id in head.extremities[-MAX_PREV_EVENTS:]),
            auth_events=tuple(entry.event.event_id for entry in auth),
            depth=min(head.depth + 1, MAX_INTEGER),
            reference_hashes=hashes,
            event_id=chosen_event_id(self.timeline.identity.server_name) if version.event_id_in_pdu else None,
        )


def _entries(head: Head, keys: Sequence[StateKey]) -> list[StoredEvent]:
    return [entry for key in keys if (entry := head.state.get(key)) is not None]
