"""The services of sync on a real database, without HTTP, and clients that fold what they are told."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from attrs import define, field, frozen

from homeserver.app.foundation import Foundation
from homeserver.app.sliding_parts import sliding_sync
from homeserver.app.sync_parts import SyncParts, sync_parts
from homeserver.core.filters import parse_sync_filter
from homeserver.core.sync_fold import FoldedClient
from homeserver.core.sync_view import view_of
from homeserver.core.tokens import SyncToken, parse_sync_token
from homeserver.services.background import Background
from homeserver.services.room_servers import RoomServers
from homeserver.services.sliding.sliding_sync import SlidingSync
from homeserver.services.sync_request import Style, SyncRequest
from storage.accounts import Account, insert_account
from storage.database import Database
from tests.kit.services import Kit, build_kit


@frozen(repr=False)
class Syncing:
    """The services, and who they serve."""

    kit: Kit
    parts: SyncParts
    background: Background
    sliding: SlidingSync

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Hypothesis would print the whole server."""
        printer.text("syncing")

    def device(self, user_id: str, **options: Any) -> "Device":
        """A new client of a user."""
        return Device(self, user_id, **options)

    async def add_account(self, user_id: str) -> int:
        """Give a user an account; the user's number."""
        nid = await self.kit.state_keys.user_nid(user_id)
        account = Account(
            user_nid=nid,
            user_id=user_id,
            password_hash=None,
            admin=False,
            guest=False,
            deactivated=False,
            locked=False,
            suspended=False,
            appservice_id=None,
            created_ts=0,
        )
        async with self.kit.database.transaction() as conn:
            await insert_account(conn, account)
        return nid

    async def settle(self) -> None:
        """Wait for everything that runs."""
        await self.background.settle()
        await self.kit.committer.drain()


def build_syncing(kit: Kit) -> Syncing:
    """Sync on top of the writer."""
    foundation = Foundation(
        kit.database,
        kit.timeline.identity,
        kit.reader,
        kit.state_keys,
        kit.committer,
        kit.notifier,
        kit.tails,
        kit.timeline,
        followers=kit.followers,
        room_servers=RoomServers(),
        counts=kit.counts,
        predefined=kit.predefined,
    )
    background = Background()
    parts = sync_parts(foundation, background)
    return Syncing(kit, parts, background, sliding_sync(foundation, parts))


@define
class Device:
    """A client that syncs and remembers."""

    syncing: Syncing
    user_id: str
    filter: dict[str, Any] = field(factory=dict)
    state_name: str = "state"
    device_nid: int | None = None
    since: SyncToken | None = None
    folded: FoldedClient = field(factory=FoldedClient)

    async def request(self, *, full_state: bool = False) -> SyncRequest:
        """What the client would ask now."""
        kit = self.syncing.kit
        nid = await kit.state_keys.user_nid(self.user_id)
        return SyncRequest(
            user_id=self.user_id,
            user=await kit.notifier.active(nid),
            device_nid=self.device_nid,
            since=self.since,
            view=view_of(parse_sync_filter(self.filter)),
            style=Style(self.state_name, full_state),
        )

    async def sync(self, timeout: float = 0, *, full_state: bool = False) -> dict[str, Any]:
        """One sync, folded into what the client knows."""
        request = await self.request(full_state=full_state)
        answer: dict[str, Any] = orjson.loads(await self.syncing.parts.sync.sync(request, timeout))
        self.since = parse_sync_token(answer["next_batch"])
        self.folded.take(answer)
        return answer


@pytest.fixture
async def syncing(database: Database) -> AsyncIterator[Syncing]:
    syncing = build_syncing(build_kit(database))
    yield syncing
    await syncing.settle()
