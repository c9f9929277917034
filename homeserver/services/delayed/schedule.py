"""Events that users want to be sent later: taken, shown, put off, called off [MSC4140].

What is due, `delivery` sends. Nothing here waits for anybody: a row is free, claimed by who sends it, or finalised.
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from attrs import frozen

from homeserver.core import canonical_json
from homeserver.core.errors import MatrixError, forbidden, not_found, too_large
from homeserver.core.event_build import Draft
from homeserver.services.growth import Once
from homeserver.services.now import Clock, now_ms
from storage import delayed_events
from storage.database import Database, UniqueViolation
from storage.delayed_events import Delayed

MAX_CONTENT = 65_536  # the event around it makes it larger still [cs "Size limits"]
MAX_TYPE = 255
CLAIM_LASTS = 30_000  # ms after which whoever claimed an event is believed to be gone
ID_BYTES = 24  # an id is all that a helper without an account needs, so it cannot be guessed


@frozen
class DelayLimits:
    """What one user may ask for."""

    scheduled: int = 100
    delay_ms: int = 24 * 60 * 60 * 1000


@frozen
class Wish:
    """An event as its sender wants it, `delay_ms` from now; `origin_ts`: what it says of its time."""

    draft: Draft
    delay_ms: int
    origin_ts: int | None = None
    once: Once | None = None


@frozen
class DelayedEvents:
    """What users have scheduled. `changed` is told when something is due earlier than it was."""

    database: Database
    limits: DelayLimits
    changed: Callable[[], None]
    clock: Clock = now_ms

    async def schedule(self, user_nid: int, wish: Wish) -> str:
        """Keep an event for later; gives its delay id."""
        self._check(wish)
        once = None if wish.once is None else (wish.once.device_nid, wish.once.txn_id)
        room_id = wish.draft.room_id or ""
        if once is not None and (earlier := await self._repeated(once, room_id)) is not None:
            return earlier
        delayed = Delayed(
            delay_id=secrets.token_urlsafe(ID_BYTES),
            user_nid=user_nid,
            room_id=room_id,
            type=wish.draft.type,
            state_key=wish.draft.state_key,
            content=orjson.dumps(wish.draft.content).decode(),
            delay_ms=wish.delay_ms,
            scheduled_at=self.clock(),
            origin_ts=wish.origin_ts,
        )
        try:
            async with self.database.transaction() as conn:
                next_due = await delayed_events.add(conn, delayed, limit=self.limits.scheduled, once=once)
        except UniqueViolation:  # the same request, at the same time
            assert once is not None
            return await self._repeated(once, room_id) or delayed.delay_id
        if next_due is not None:
            raise _too_many(next_due - delayed.scheduled_at)
        self.changed()
        return delayed.delay_id

    async def scheduled(self, user_nid: int) -> list[dict[str, Any]]:
        """What a user has scheduled, the next first."""
        async with self.database.read() as conn:
            return [described(one) for one in await delayed_events.scheduled_of(conn, user_nid)]

    async def one(self, delay_id: str, user_nid: int) -> dict[str, Any]:
        """One of a user's own, finalised or not."""
        return described(await self.found(delay_id, user_nid))

    async def cancel(self, delay_id: str, user_nid: int | None) -> None:
        """Call it off."""
        await self.found(delay_id, user_nid)
        now = self.clock()
        async with self.database.transaction() as conn:
            done = await delayed_events.cancel(conn, delay_id, now=now, stale=now - CLAIM_LASTS)
        if done:
            return
        found = await self.found(delay_id, user_nid)
        if found.finalised_ts is None or found.event_id is not None:
            raise conflict("The event has been sent")

    async def restart(self, delay_id: str, user_nid: int | None) -> None:
        """Let the delay begin anew."""
        await self.found(delay_id, user_nid)
        now = self.clock()
        async with self.database.transaction() as conn:
            done = await delayed_events.restart(conn, delay_id, now=now, stale=now - CLAIM_LASTS)
        if not done:
            found = await self.found(delay_id, user_nid)
            cancelled = found.finalised_ts is not None and found.event_id is None
            raise conflict("The event has been cancelled" if cancelled else "The event has been sent")

    async def found(self, delay_id: str, user_nid: int | None) -> Delayed:
        """One of the user's, or anybody's for who knows no more than its id."""
        async with self.database.read() as conn:
            found = await delayed_events.find(conn, delay_id)
        if found is None or user_nid not in (None, found.user_nid):
            raise not_found("No such delayed event")
        return found

    async def _repeated(self, once: tuple[int, str], room_id: str) -> str | None:
        async with self.database.read() as conn:
            return await delayed_events.repeated(conn, *once, room_id)

    def _check(self, wish: Wish) -> None:
        if self.limits.scheduled == 0:
            raise forbidden("This server sends no events later")
        if wish.delay_ms > self.limits.delay_ms:
            raise _too_late(self.limits.delay_ms)
        if len(canonical_json.encode(wish.draft.content)) > MAX_CONTENT:
            raise too_large("The event is too large")
        if max(len((text or "").encode()) for text in (wish.draft.type, wish.draft.state_key)) > MAX_TYPE:
            raise too_large("The event's type or state key is too long")


def described(delayed: Delayed) -> dict[str, Any]:
    """As clients see it [MSC4140 "Getting delayed events"]."""
    told = {
        "delay_id": delayed.delay_id,
        "room_id": delayed.room_id,
        "type": delayed.type,
        "state_key": delayed.state_key,
        "delay_ms": delayed.delay_ms,
        "scheduled_at": delayed.scheduled_at,
        "content": orjson.Fragment(delayed.content),
        "error": None if delayed.error is None else orjson.Fragment(delayed.error),
        "event_id": delayed.event_id,
        "finalised_ts": delayed.finalised_ts,
        # COMPAT(clients of earlier drafts, until the specification has it)
        "delay": delayed.delay_ms,
        "running_since": delayed.scheduled_at,
    }
    return {name: value for name, value in told.items() if value is not None}


def conflict(message: str) -> MatrixError:
    """What is asked for contradicts what has happened already [MSC4140 "Managing scheduled delayed events"]."""
    return MatrixError(409, "M_UNKNOWN", message)


def _too_late(longest: int) -> MatrixError:
    """COMPAT(clients of earlier drafts): they look for a code of their own in M_UNKNOWN, and try the longest."""
    extra: Mapping[str, Any] = {
        "org.matrix.msc4140.errcode": "M_MAX_DELAY_EXCEEDED",
        "org.matrix.msc4140.max_delay": longest,
    }
    return MatrixError(403, "M_FORBIDDEN", f"Events are delayed by {longest} ms at most", extra)


def _too_many(wait: int) -> MatrixError:
    extra = {
        "retry_after_ms": max(1, wait),
        "org.matrix.msc4140.errcode": "M_MAX_DELAYED_EVENTS_EXCEEDED",
    }
    return MatrixError(
        429, "M_LIMIT_EXCEEDED", "The maximum number of delayed events has been reached.", extra
    )
