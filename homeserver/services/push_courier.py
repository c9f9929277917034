"""Serves one pusher: tells it what is due, and notes how that went.

What a gateway does not take now is tried again later, with growing pauses, and given up when it is a day old; what it
refuses is given up at once. A pusher whose key is rejected is deleted.
"""

import random
from collections.abc import Callable, Collection, Mapping
from enum import Enum, auto
from urllib.parse import urlsplit

import structlog
from attrs import define, evolve, field, frozen

from homeserver.core.backoff import Backoff
from homeserver.core.errors import MatrixError
from homeserver.core.push.gateway import about_counts
from homeserver.services.push_contents import Batch, Letter, PushContents, addressee
from homeserver.services.push_gateways import GatewayFault, GatewayRefusal
from homeserver.services.pushers import EMAIL
from homeserver.services.pushing.carriers import Carrier, WebPushCarrier
from homeserver.services.pushing.digests import Digests
from storage import pushers
from storage.pushers import Pusher, Standing

log = structlog.get_logger(__name__)

GIVE_UP_MS = 24 * 3600 * 1000  # who comes back after a day is not woken for each old message
BACKOFF = Backoff(first=1.0, longest=3600.0, factor=3.0)


class Outcome(Enum):
    """What became of serving a pusher."""

    DONE = auto()
    MORE = auto()
    LATER = auto()  # at `retry_ts`
    GONE = auto()


@frozen
class Errand:
    """What to tell: up to a position, in some rooms (None: in all); `read`: the count may have gone down."""

    upto: int
    room_nids: Collection[int] | None
    read: bool


@define
class Carried:
    """Counts since the start, for the metrics."""

    delivered: int = 0
    failed: int = 0
    refused: int = 0
    rejected: int = 0
    outdated: int = 0


@define(eq=False)
class PushCourier:
    """Has letters carried: each kind of pusher has its carrier, but mail, which is written when it is time."""

    contents: PushContents
    carriers: Mapping[str, Carrier]
    digests: Digests | None
    clock: Callable[[], int]  # milliseconds
    backoff: Backoff = BACKOFF
    carried: Carried = field(factory=Carried)

    async def serve(self, nid: int, errand: Errand) -> tuple[Outcome, int]:
        """Tell a pusher its next notifications; gives the outcome, and when to try again if that is later."""
        batch = await self.contents.batch(nid, errand.upto, errand.room_nids)
        pusher = batch.pusher
        if pusher is None:
            return Outcome.GONE, 0
        if pusher.retry_ts > self.clock():
            return Outcome.LATER, pusher.retry_ts
        if pusher.wish.kind == EMAIL:
            return await self._mail(pusher, errand, batch)
        if pusher.token is not None:
            return await self._introduce(pusher)
        for letter in batch.letters:
            outcome, pusher = await self._tell(pusher, letter)
            if outcome is not Outcome.DONE:
                return outcome, pusher.retry_ts
        if not batch.complete:
            return Outcome.MORE, 0
        if errand.read and not batch.letters and pusher.badge:
            await self._tell_count(pusher)
        return Outcome.DONE, 0

    async def _mail(self, pusher: Pusher, errand: Errand, batch: Batch) -> tuple[Outcome, int]:
        """A mail about all that is unread, if it is time for one."""
        if self.digests is None:  # the operator may name a mail server again
            return Outcome.DONE, 0
        if not await self.digests.wanted(pusher):
            await self._remove(pusher)
            return Outcome.GONE, 0
        if not batch.letters:
            return Outcome.DONE, 0
        due = self.digests.due(pusher, batch.letters)
        if due > self.clock():
            return Outcome.LATER, due
        try:
            await self.digests.send(pusher, batch.letters, more=not batch.complete)
        except MatrixError as cause:
            return Outcome.LATER, (await self._failed(pusher, cause.message)).retry_ts
        self.carried.delivered += 1
        await self._moved(pusher, errand.upto, batch.letters[-1].unread)
        return Outcome.DONE, 0

    async def _introduce(self, pusher: Pusher) -> tuple[Outcome, int]:
        """Tell the app the token that it must send back; nothing else before it has [MSC4174]."""
        token, carrier = pusher.token, self.carriers[pusher.wish.kind]
        if token is None or token.told or (token.until or 0) < self.clock():
            return Outcome.DONE, 0
        assert isinstance(carrier, WebPushCarrier)
        try:
            alive = await carrier.introduce(pusher)
        except GatewayRefusal as cause:
            log.warning("a push service has refused a token", gateway=_host(pusher), cause=str(cause))
            return Outcome.DONE, 0
        except GatewayFault as cause:
            return Outcome.LATER, (await self._failed(pusher, str(cause))).retry_ts
        if not alive:
            await self._delete(pusher)
            return Outcome.GONE, 0
        async with self.contents.database.writer() as conn:
            await pushers.token_told(conn, pusher.nid, token.text)
        return Outcome.DONE, 0

    async def _tell(self, pusher: Pusher, letter: Letter) -> tuple[Outcome, Pusher]:
        if letter.ts < self.clock() - GIVE_UP_MS:
            self.carried.outdated += 1
            return Outcome.DONE, await self._moved(pusher, letter.position, pusher.badge)
        try:
            alive = await self.carriers[pusher.wish.kind].carry(pusher, letter.body)
        except GatewayRefusal as cause:
            self.carried.refused += 1
            log.warning("a push gateway has refused a notification", gateway=_host(pusher), cause=str(cause))
            return Outcome.DONE, await self._moved(pusher, letter.position, pusher.badge, str(cause))
        except GatewayFault as cause:
            return Outcome.LATER, await self._failed(pusher, str(cause))
        if not alive:
            await self._delete(pusher)
            return Outcome.GONE, pusher
        self.carried.delivered += 1
        return Outcome.DONE, await self._moved(pusher, letter.position, letter.unread)

    async def _tell_count(self, pusher: Pusher) -> None:
        """The number on the app's icon; if it gets lost, the next notification tells it."""
        unread = await self.contents.unread(pusher.user_nid)
        if unread == pusher.badge:
            return
        try:
            count = about_counts(addressee(pusher), unread)
            alive = await self.carriers[pusher.wish.kind].carry(pusher, count)
        except (GatewayFault, GatewayRefusal) as cause:
            log.info("a push gateway was not told a count", gateway=_host(pusher), cause=str(cause))
            return
        if not alive:
            await self._delete(pusher)
            return
        await self._moved(pusher, pusher.position, unread)

    async def _moved(self, pusher: Pusher, position: int, badge: int, error: str | None = None) -> Pusher:
        success = self.clock() if error is None else None
        if pusher.failures:
            log.info("a push gateway works again", gateway=_host(pusher), pusher=pusher.nid)
        await self._store(
            pusher, Standing(position=position, badge=badge, last_success_ts=success, last_error=error)
        )
        return evolve(pusher, position=position, badge=badge, failures=0, retry_ts=0, failing_since=None)

    async def _failed(self, pusher: Pusher, why: str) -> Pusher:
        self.carried.failed += 1
        now, failures = self.clock(), pusher.failures + 1
        wait = self.backoff.wait(failures, random.random())  # noqa: S311 (no secret)
        since = pusher.failing_since or now
        retry = now + int(1000 * wait)
        log.warning(
            "a push gateway fails",
            gateway=_host(pusher),
            pusher=pusher.nid,
            failures=failures,
            seconds=round(wait),
            cause=why,
        )
        standing = Standing(
            position=pusher.position,
            badge=pusher.badge,
            failures=failures,
            retry_ts=retry,
            failing_since=since,
            last_error=why,
        )
        await self._store(pusher, standing)
        return evolve(pusher, failures=failures, retry_ts=retry, failing_since=since)

    async def _store(self, pusher: Pusher, standing: Standing) -> None:
        async with self.contents.database.writer() as conn:
            await pushers.move(conn, pusher.nid, standing)

    async def _delete(self, pusher: Pusher) -> None:
        self.carried.rejected += 1
        log.info("a push gateway has rejected a key", gateway=_host(pusher), app_id=pusher.wish.app_id)
        async with self.contents.database.writer() as conn:
            await pushers.delete_rejected(conn, pusher.wish.app_id, [pusher.wish.pushkey])

    async def _remove(self, pusher: Pusher) -> None:
        log.info("a pusher's address is the user's no more", pusher=pusher.nid)
        async with self.contents.database.writer() as conn:
            await pushers.delete_one(conn, pusher.nid)


def _host(pusher: Pusher) -> str:
    return "mail" if pusher.wish.kind == EMAIL else urlsplit(str(pusher.wish.data.get("url"))).netloc
