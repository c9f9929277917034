"""What is bundled with events that others relate to: threads, edits, references [cs "Aggregations of child events"]."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from attrs import frozen

from homeserver.core.relations import REFERENCE, REPLACE, THREAD, relation_of
from homeserver.services.client_events import Audience, ClientEvents
from storage import relations
from storage.database import Connection
from storage.events import StoredEvent


@frozen
class Aggregations:
    """Gathers the bundles of many events at once."""

    client_events: ClientEvents

    async def forms(
        self,
        conn: Connection,
        events: Sequence[StoredEvent],
        audience: Audience,
        *,
        memberships: Mapping[int, str] | None = None,
    ) -> list[orjson.Fragment]:
        """The client forms of events with their bundles, in order; `memberships` of the reader, if they are known."""
        bundles = await self.of(conn, events, audience)
        return await self.client_events.forms(
            conn, events, audience, relations=bundles, memberships=memberships
        )

    async def of(
        self,
        conn: Connection,
        events: Sequence[StoredEvent],
        audience: Audience,
        *,
        with_threads: bool = True,
    ) -> dict[str, dict[str, Any]]:
        """event id -> its `m.relations`; events that nothing relates to are left out."""
        by_id = {stored.event.event_id: stored for stored in events}
        how = await relations.related(conn, by_id) if by_id else {}
        bundles: dict[str, dict[str, Any]] = {}

        def related_by(kind: str) -> list[str]:
            return [parent for parent, kinds in how.items() if kind in kinds]

        referred = related_by(REFERENCE)
        found = await relations.references(conn, referred) if referred else {}
        for event_id, ids in found.items():
            _into(bundles, event_id)[REFERENCE] = {"chunk": [{"event_id": one} for one in ids]}
        await self._add_edits(conn, [by_id[parent] for parent in related_by(REPLACE)], audience, bundles)
        if with_threads and related_by(THREAD):
            await self._add_threads(conn, related_by(THREAD), audience, bundles)
        return bundles

    async def _add_edits(
        self, conn: Connection, parents: Sequence[StoredEvent], audience: Audience, bundles: dict[str, Any]
    ) -> None:
        """The latest valid edit of each event, whole [cs "Server-side aggregation of m.replace relationships"]."""
        editable = [stored.event.event_id for stored in parents if _is_editable(stored)]
        latest = await relations.latest_edits(conn, editable) if editable else {}
        edits = await self._forms(conn, latest, audience)
        for parent, form in edits.items():
            _into(bundles, parent)[REPLACE] = form

    async def _add_threads(
        self, conn: Connection, parents: Iterable[str], audience: Audience, bundles: dict[str, Any]
    ) -> None:
        """How long each thread is, and its latest reply [cs "Server-side aggregation of m.thread relationships"]."""
        threads = await relations.thread_summaries(conn, parents, audience.user_nid or 0)
        if not threads:
            return
        latest = {root: thread.latest_nid for root, thread in threads.items()}
        forms = await self._forms(conn, latest, audience, edited=True)
        for root, thread in threads.items():
            _into(bundles, root)[THREAD] = {
                "latest_event": forms.get(root, {}),
                "count": thread.count,
                "current_user_participated": thread.participated,
            }

    async def _forms(
        self, conn: Connection, nids: Mapping[str, int], audience: Audience, *, edited: bool = False
    ) -> dict[str, Any]:
        """Client forms of events by the id of what they are bundled with."""
        found = await self.client_events.reader.by_nids(conn, nids.values()) if nids else {}
        if not found:
            return {}
        kept = {parent: found[nid] for parent, nid in nids.items() if nid in found and _is_whole(found[nid])}
        events = list(kept.values())
        inner = await self.of(conn, events, audience, with_threads=False) if edited else {}
        forms = await self.client_events.forms(conn, events, audience, relations=inner)
        return dict(zip(kept, forms, strict=True))


def _is_editable(stored: StoredEvent) -> bool:
    """An edit is not edited itself, nor is state [cs "Validity of replacement events"]."""
    relation = relation_of(stored.event.content)
    edits = relation is not None and relation.rel_type == REPLACE
    return not edits and not stored.event.is_state and stored.redacted_by is None


def _is_whole(stored: StoredEvent) -> bool:
    """An edit in clear text must bring new content [cs "Validity of replacement events"]."""
    relation = relation_of(stored.event.content)
    if relation is None or relation.rel_type != REPLACE or stored.event.type == "m.room.encrypted":
        return True
    return isinstance(stored.event.content.get("m.new_content"), dict)


def _into(bundles: dict[str, dict[str, Any]], event_id: str) -> dict[str, Any]:
    return bundles.setdefault(event_id, {})
