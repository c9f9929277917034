"""Which threads users want to hear of, and no longer do [MSC4306].

Who has ever subscribed to a thread has two push rules more than others: what happens in other threads does not notify
them any more. Whose clients know nothing of this keep the rules of the specification.
"""

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from homeserver.core.errors import MatrixError, not_found
from homeserver.core.relations import THREAD, relation_of
from homeserver.services.push_rules import Owner, PushRules
from homeserver.services.room_access import Visitor
from homeserver.services.room_reading import RoomReading
from storage import thread_subscriptions
from storage.committer import Committer, Kind, Touched
from storage.database import Connection, Database
from storage.events import StoredEvent
from storage.thread_subscriptions import Subscription, Thread, Window

MAX_WINDOW = 100


@frozen
class ThreadSubscriptions:
    """Subscribes, and tells what of it is new."""

    database: Database
    committer: Committer
    reading: RoomReading
    push_rules: PushRules

    async def get(self, room_id: str, visitor: Visitor, root: str) -> Subscription:
        """The subscription to one thread. Raises M_NOT_FOUND."""
        async with self.database.read() as conn:
            thread = await self._thread(conn, room_id, visitor, root)
            found = await thread_subscriptions.find(conn, thread)
        if found is None or not found.subscribed:
            raise not_found("You are not subscribed to this thread")
        return found

    async def subscribe(self, room_id: str, visitor: Visitor, root: str, cause_id: str | None) -> None:
        """`cause_id`: the event for which a client does it by itself, unless the user left the thread after it."""
        async with self.database.read() as conn:
            thread = await self._thread(conn, room_id, visitor, root)
            cause = None if cause_id is None else await self._cause(conn, room_id, visitor, (root, cause_id))
            before = await thread_subscriptions.find(conn, thread)
        if before is not None and not before.subscribed and cause is not None and cause <= before.position:
            raise MatrixError(409, "M_CONFLICTING_UNSUBSCRIPTION", "You have left this thread since")
        if before is not None and before.subscribed and (cause is not None or not before.automatic):
            return

        async def job(conn: Connection, position: int) -> None:
            await thread_subscriptions.subscribe(conn, position, thread, cause)

        await self._write(job, thread)
        await self.push_rules.heed_threads(Owner(visitor.user_id, visitor.user_nid))

    async def unsubscribe(self, room_id: str, visitor: Visitor, root: str) -> None:
        """Hear no more of a thread."""
        async with self.database.read() as conn:
            thread = await self._thread(conn, room_id, visitor, root)
            before = await thread_subscriptions.find(conn, thread)
        if before is None or not before.subscribed:
            return

        async def job(conn: Connection, position: int) -> None:
            await thread_subscriptions.unsubscribe(conn, position, thread)

        await self._write(job, thread)

    async def page(self, user_nid: int, wanted: Window) -> tuple[dict[str, Any], int | None]:
        """A window of changes, and where the next one begins if there are more."""
        async with self.database.read() as conn:
            return told(await thread_subscriptions.window(conn, user_nid, wanted), wanted.limit)

    async def _write(self, job: Any, thread: Thread) -> None:
        await self.committer.run(job, Touched(users=(thread.user_nid,), kind=Kind.THREAD_SUBSCRIPTIONS))

    async def _thread(self, conn: Connection, room_id: str, visitor: Visitor, root: str) -> Thread:
        event = await self._visible(conn, room_id, visitor, root)
        relation = relation_of(event.event.content)
        if relation is not None and relation.rel_type == THREAD:
            raise not_found("The event does not begin a thread")
        return Thread(visitor.user_nid, event.room.nid, root)

    async def _cause(self, conn: Connection, room_id: str, visitor: Visitor, place: tuple[str, str]) -> int:
        root, cause_id = place
        event = await self._visible(conn, room_id, visitor, cause_id)
        relation = relation_of(event.event.content)
        in_thread = relation is not None and relation.rel_type == THREAD and relation.parent_id == root
        if not in_thread and cause_id != root:
            raise MatrixError(400, "M_NOT_IN_THREAD", "The event is not in this thread")
        return event.position or 0

    async def _visible(self, conn: Connection, room_id: str, visitor: Visitor, event_id: str) -> StoredEvent:
        try:
            return await self.reading.event(conn, room_id, visitor, event_id)
        except MatrixError as cause:  # who may not look into the room does not learn what is in it
            raise not_found("There is no such thread") from cause


def told(found: Sequence[Subscription], limit: int) -> tuple[dict[str, Any], int | None]:
    """Changes as clients see them [MSC4308], the first `limit`; and where the rest begins, if there is any."""
    answer: dict[str, Any] = {}
    for one in found[:limit]:
        threads = answer.setdefault("subscribed" if one.subscribed else "unsubscribed", {})
        said: dict[str, Any] = {"bump_stamp": one.position}
        if one.subscribed:
            said["automatic"] = one.automatic
        threads.setdefault(one.room_id, {})[one.thread_id] = said
    return answer, found[limit - 1].position if len(found) > limit else None
