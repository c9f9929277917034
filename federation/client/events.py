"""Asking other servers for events of rooms [ss "Retrieving events", "Backfilling and retrieving missing events"]."""

from collections.abc import Sequence
from typing import Literal

from attrs import frozen

from federation.client import shapes
from federation.client.paths import federation_path
from federation.client.shapes import JsonObject
from federation.transport.requests import LONG, QUICK, PeerRefused, PeerRequests


@frozen
class StateIds:
    """Which events are a room's state, and which authorize them."""

    pdu_ids: list[str]
    auth_chain_ids: list[str]


@frozen
class RoomStateAnswer:
    """A room's state, and the events that authorize it."""

    pdus: list[JsonObject]
    auth_chain: list[JsonObject]


@frozen
class EventRequests:
    """PDUs are parsed, and nothing else is known of them: neither format nor signatures were looked at."""

    requests: PeerRequests

    async def event(self, destination: str, event_id: str) -> JsonObject | None:
        """One event; None where the peer says that it has none for us."""
        try:
            answer = await self.requests.get(destination, federation_path("v1", "event", event_id))
        except PeerRefused as refused:
            if refused.status == 404:
                return None
            raise
        pdus = shapes.objects(destination, answer, "pdus")
        return pdus[0] if pdus else None

    async def state_ids(self, destination: str, room_id: str, event_id: str) -> StateIds:
        """The state before an event, as ids."""
        path = federation_path("v1", "state_ids", room_id)
        answer = await self.requests.get(destination, path, {"event_id": event_id}, patience=LONG)
        return StateIds(
            shapes.event_ids(destination, answer, "pdu_ids"),
            shapes.event_ids(destination, answer, "auth_chain_ids"),
        )

    async def state(self, destination: str, room_id: str, event_id: str) -> RoomStateAnswer:
        """The state before an event."""
        path = federation_path("v1", "state", room_id)
        answer = await self.requests.get(destination, path, {"event_id": event_id}, patience=LONG)
        return RoomStateAnswer(
            shapes.objects(destination, answer, "pdus"), shapes.objects(destination, answer, "auth_chain")
        )

    async def event_auth(self, destination: str, room_id: str, event_id: str) -> list[JsonObject]:
        """All events that authorize an event."""
        path = federation_path("v1", "event_auth", room_id, event_id)
        return shapes.objects(
            destination, await self.requests.get(destination, path, patience=LONG), "auth_chain"
        )

    async def missing_events(
        self,
        destination: str,
        room_id: str,
        *,
        earliest: Sequence[str],
        latest: Sequence[str],
        limit: int = 10,
        min_depth: int = 0,
    ) -> list[JsonObject]:
        """Events between those we have (`earliest`) and those we were sent (`latest`)."""
        body = {
            "earliest_events": list(earliest),
            "latest_events": list(latest),
            "limit": limit,
            "min_depth": min_depth,
        }
        path = federation_path("v1", "get_missing_events", room_id)
        return shapes.objects(destination, await self.requests.post(destination, path, body), "events")

    async def backfill(
        self, destination: str, room_id: str, event_ids: Sequence[str], limit: int
    ) -> list[JsonObject]:
        """The events and what came before them."""
        path = federation_path("v1", "backfill", room_id)
        answer = await self.requests.get(destination, path, {"v": list(event_ids), "limit": limit})
        return shapes.objects(destination, answer, "pdus")

    async def timestamp_to_event(
        self, destination: str, room_id: str, ts: int, direction: Literal["f", "b"]
    ) -> tuple[str, int]:
        """The event closest to a time in a direction, and its own time."""
        path = federation_path("v1", "timestamp_to_event", room_id)
        answer = await self.requests.get(destination, path, {"ts": ts, "dir": direction}, patience=QUICK)
        return (
            shapes.event_id(destination, answer, "event_id"),
            shapes.integer(destination, answer, "origin_server_ts"),
        )
