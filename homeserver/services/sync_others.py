"""The sync answer that tells of other people only: whose devices changed, and who came online or went.

It is told to all members of a room at about the same time, so it takes no snapshot: whose devices changed is in memory,
presence is one query. Both may be newer than the token, and are then told again. Of profiles nothing is told at all.
Anything else is left to `SyncGather`.
"""

from typing import Any

from attrs import frozen

from homeserver.core.tokens import SyncToken
from homeserver.services.recent_devices import RecentDevices
from homeserver.services.sync_gather import Gathered, SyncGather
from homeserver.services.sync_passing import Span
from homeserver.services.sync_request import SyncRequest
from storage.committer import Kind

_OTHERS = {Kind.DEVICE_LISTS, Kind.PRESENCE}
_SILENT = {Kind.PROFILES}


@frozen
class SyncOthers:
    """Gathers answers, from memory where they are about others' devices."""

    everything: SyncGather
    recent: RecentDevices

    async def gather(self, request: SyncRequest) -> Gathered:
        """Everything that is new for the client."""
        notifier, since = self.everything.notifier, request.position
        position = notifier.position
        kinds = notifier.kinds_since(request.user, since, position)
        token = SyncToken(position)
        if _is_waiting(request) and kinds and kinds <= _SILENT:
            return Gathered(token, {"next_batch": str(token)}, empty=True)
        if not _tells_of_others(request, kinds - _SILENT):
            return await self.everything.gather(request)
        changed = await self.recent.told(request.user, since)
        if changed is None:
            return await self.everything.gather(request)
        news: dict[str, Any] = {}
        if Kind.PRESENCE in kinds and (presence := await self._presence(request)):
            news["presence"] = {"events": presence}
        if changed:
            news["device_lists"] = {"changed": changed}
        return Gathered(token, {"next_batch": str(token), **news}, not news)

    async def _presence(self, request: SyncRequest) -> list[dict[str, Any]]:
        span = Span(request.position, list(request.user.rooms))
        async with self.everything.database.read() as conn:
            return await self.everything.passing.presence(conn, request, span, changed=True)


def _is_waiting(request: SyncRequest) -> bool:
    """Does the client only lack what the marks tell of?"""
    if request.since is None or request.since.inbox is not None or request.style.full_state:
        return False
    return request.peeks_nowhere_new


def _tells_of_others(request: SyncRequest, kinds: set[Kind]) -> bool:
    """Is there nothing else to be told, and something of devices?"""
    return _is_waiting(request) and Kind.DEVICE_LISTS in kinds and kinds <= _OTHERS
