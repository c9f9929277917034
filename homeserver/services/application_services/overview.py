"""How application services fare, for the operator."""

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from homeserver.core.application_services import ApplicationService
from homeserver.services.application_services.pusher import ServicePusher
from storage.application_services import Queue, queues
from storage.database import Database
from storage.streams import current_position


@frozen
class ServiceOverview:
    """Reads all queues."""

    database: Database
    services: Sequence[ApplicationService]
    pusher: ServicePusher

    async def all(self) -> list[dict[str, Any]]:
        """One object a service."""
        async with self.database.read(snapshot=True) as conn:
            found = await queues(conn, [one.id for one in self.services])
            now = await current_position(conn)
        return [self._told(one, found.get(one.id), now) for one in self.services]

    def _told(self, service: ApplicationService, queue: Queue | None, now: int) -> dict[str, Any]:
        standing = self.pusher.standings.get(service.id)
        told: dict[str, Any] = {"id": service.id, "user_id": service.sender, "url": service.url or None}
        if queue is None or standing is None:
            return {**told, "state": "not pushed", **_NOTHING}
        position = max(queue.position, standing.position)
        return {
            **told,
            "state": "down" if queue.failures else "busy" if queue.pending else "up",
            "behind": max(0, now - position) if queue.pending else 0,  # numbers of the clock
            "waiting_bytes": len(queue.pending.body) if queue.pending else 0,
            "failures": queue.failures,
            "failure_ts": queue.failing_since,
            "retry_at_ts": queue.retry_ts or None,
            "last_success_ts": queue.last_success_ts,
            "last_error": queue.last_error,
        }


_NOTHING: dict[str, Any] = {
    "behind": 0,
    "waiting_bytes": 0,
    "failures": 0,
    "failure_ts": None,
    "retry_at_ts": None,
    "last_success_ts": None,
    "last_error": None,
}
