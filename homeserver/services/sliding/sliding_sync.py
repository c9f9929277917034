"""Sliding sync: rooms by windows and subscriptions; what is new of them, at once or when there is something [MSC4186].

An answer is made of what the client has been told, which its connection remembers, and of the request. When the last
answer left nothing to say and nothing has happened, the request waits without a query; plain messages are then told
from memory (`SlidingQuick`).
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from attrs import define, evolve, field, frozen

from homeserver.core.errors import invalid_param
from homeserver.core.sliding_request import SlidingQuery, room_wish
from homeserver.core.tokens import SlidingPos, SyncToken
from homeserver.services.inboxes import Inboxes
from homeserver.services.key_counts import KeysLeft
from homeserver.services.notifier import ActiveUser, Notifier
from homeserver.services.sliding.connections import SyncConnection, SyncConnections, unknown_pos
from homeserver.services.sliding.gather import Gathered, Round, Sent, SlidingGather, at_position
from homeserver.services.sliding.quick import SlidingQuick
from homeserver.services.sync_request import SyncRequest
from storage.streams import current_position
from storage.sync_connections import Place

MAX_SUBSCRIPTIONS = 1_000  # of a client that tells each one only once


@frozen
class SlidingRequest:
    """One request, without its waiting. `given`: the subscriptions of a client that tells each one only once."""

    user_id: str
    user: ActiveUser
    device_nid: int | None
    query: SlidingQuery
    pos: SlidingPos | None
    given: Mapping[str, Any] | None = None

    @property
    def place(self) -> Place:
        """Whose connection it goes over."""
        return Place(self.user.user_nid, self.device_nid or 0, self.query.conn_id)


@frozen
class Answer:
    """An answer in the inner form: rooms are yet to be written for the path that was asked."""

    pos: SlidingPos
    counts: Mapping[str, int]
    rooms: Mapping[str, dict[str, Any]] = field(factory=dict)
    extensions: Mapping[str, Any] = field(factory=dict)


@define(eq=False)
class SlidingSync:
    """Answers requests."""

    notifier: Notifier
    connections: SyncConnections
    gather: SlidingGather
    quick: SlidingQuick
    key_counts: KeysLeft
    inboxes: Inboxes

    async def sync(self, asked: SlidingRequest, timeout: float) -> Answer:
        """The answer. With a position and nothing new it waits, `timeout` seconds at most. Raises M_UNKNOWN_POS."""
        await self._check_clock(asked)
        connection = await self._connection(asked)
        asked = await self._with_earlier(asked, connection)
        await self._acknowledge(asked)
        since = None if asked.pos is None else SyncToken(asked.pos.position)
        request = SyncRequest(
            user_id=asked.user_id, user=asked.user, device_nid=asked.device_nid, since=since
        )
        one = Round(connection, asked.query, request, Sent(connection.rooms))
        until = asyncio.get_running_loop().time() + timeout
        pending, gathered = _is_pending(asked, connection, self.notifier), None
        if not pending:
            one.settled = connection.settled
        while True:
            if pending or not asked.user.is_quiet_since(one.position):
                pending = False
                gathered = self.quick.gather(one) or await self.gather.gather(one)
                if asked.pos is None or not gathered.empty or not gathered.complete:
                    return await self._answer(asked, one, gathered)
                one.request, one.settled = at_position(one.request, gathered.now), gathered.settled
            if not await self._wait(one, until):
                return await self._answer(asked, one, gathered)

    async def _with_earlier(self, asked: SlidingRequest, connection: SyncConnection) -> SlidingRequest:
        """Add the subscriptions that the client told with earlier requests, and has not ended."""
        if asked.given is None:
            return asked
        ended = asked.query.unsubscribed
        known = {name: value for name, value in connection.subscriptions.items() if name not in ended}
        known |= asked.given
        if len(known) > MAX_SUBSCRIPTIONS:
            raise invalid_param("There are too many room subscriptions")
        await self.connections.subscribe(connection, known)
        wishes = {name: room_wish(value, asked.user_id) for name, value in known.items()}
        return evolve(asked, query=asked.query.with_subscriptions(wishes))

    async def _check_clock(self, asked: SlidingRequest) -> None:
        """A position that is yet to come is from before the database was restored to an earlier time."""
        if asked.pos is None or asked.pos.position <= self.notifier.position:
            return
        async with self.gather.database.read() as conn:
            now = await current_position(conn)
        if asked.pos.position > now:
            if asked.device_nid is not None:  # what has been given out since is in it again
                await self.key_counts.begin_anew(asked.device_nid)
            raise unknown_pos()

    async def _connection(self, asked: SlidingRequest) -> SyncConnection:
        if asked.pos is None:
            return await self.connections.begin(asked.place)
        return await self.connections.resume(asked.place, asked.pos)

    async def _acknowledge(self, asked: SlidingRequest) -> None:
        """The client has its to-device messages up to the place that it names."""
        wish = asked.query.extensions.to_device
        if wish is not None and wish.since is not None:
            await self.inboxes.acknowledge(asked.device_nid, min(wish.since, self.notifier.position))

    async def _wait(self, one: Round, until: float) -> bool:
        """Until there may be something new; False when the time is over."""
        clock = asyncio.get_running_loop()
        while one.request.user.is_quiet_since(one.position):
            remaining = until - clock.time()
            if remaining <= 0 or not await self.notifier.wait(one.request.user, one.position, remaining):
                return False
        return until > clock.time()

    async def _answer(self, asked: SlidingRequest, one: Round, gathered: Gathered | None) -> Answer:
        connection = one.connection
        ordinal = await self.connections.offer(connection, one.sent.over)
        if gathered is None:  # nothing happened, and nobody looked
            assert one.settled is not None
            settled, position, complete = one.settled, one.position, True
        else:
            settled, position, complete = gathered.settled, gathered.now, gathered.complete
            self.inboxes.told(asked.device_nid, gathered.inbox)
        connection.settled = evolve(settled, ordinal=ordinal) if complete else None
        extensions = dict(gathered.extensions) if gathered is not None else {}
        if asked.query.extensions.e2ee:
            keys = await self.key_counts.of(asked.user, asked.device_nid)
            extensions["e2ee"] = {**extensions.get("e2ee", {}), **keys.as_fields()}
        return Answer(
            SlidingPos(position, connection.nid, ordinal),
            settled.counts,
            gathered.rooms if gathered is not None else {},
            extensions,
        )


def _is_pending(asked: SlidingRequest, connection: SyncConnection, notifier: Notifier) -> bool:
    """May there be something to say though nothing has happened?"""
    settled = connection.settled
    if asked.pos is None or settled is None or settled.ordinal != asked.pos.ordinal:
        return True
    if settled.query.digest != asked.query.digest or asked.pos.position > notifier.position:
        return True
    wish = asked.query.extensions.to_device
    return wish is not None and (wish.since is None or wish.since < asked.pos.position)


def dumped(answer: Answer, rooms: Mapping[str, Any]) -> bytes:
    """The answer as JSON, with its rooms as they are told."""
    return orjson.dumps(
        {
            "pos": str(answer.pos),
            "lists": {name: {"count": count} for name, count in answer.counts.items()},
            "rooms": rooms,
            "extensions": answer.extensions,
        }
    )
