"""A room of other servers becomes one of ours: the state and auth chain that came with our user's join.

What was learned comes in as values; here it is judged (each event by its auth events, the join by the state that was
told) and written. Everything that nobody sees yet (outliers, and the state with a head without extremities) is written
first, beside the committer and in pieces that keep the loop free; then the join is one ordinary batch. A crash in
between leaves a room that is not known to anybody, and the next attempt begins it again.

A room that we were in before keeps its timeline; its current state becomes what was told, and the gap is marked.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from typing import Any

import structlog
from attrs import field, frozen

from homeserver.core.auth.rejection import Rejected as NotAllowed
from homeserver.core.auth.rules import check_auth, check_auth_events
from homeserver.core.auth.state import CREATE, AuthState
from homeserver.core.event import Event, StateKey
from homeserver.core.room_versions import RoomVersion
from homeserver.services.arrivals import Arrivals
from homeserver.services.judging import Arrival, as_first_told, is_unjudged, judging
from homeserver.services.learned_rooms import Cover, Learned, numbered
from homeserver.services.room_heads import Head
from homeserver.services.timeline import ATTEMPTS, Timeline
from homeserver.services.told_rooms import Judgements, judge_told, place_told
from storage import adoption as tables
from storage import auth_chains, room_state
from storage.committer import HeadMoved
from storage.database import Connection, UniqueViolation
from storage.events import StoredEvent
from storage.room_batches import MEMBERSHIPS
from storage.rooms import HeadRow, Room

log = structlog.get_logger(__name__)

KEYS_AT_ONCE = 2_500


class NotAdopted(Exception):
    """What was told of the room does not hold, or does not let the join happen."""


class _Disproven(Exception):
    """Not all of what was told is signed as it should be; nothing of it was written."""


Proof = Callable[[], Coroutine[Any, Any, "Told | None"]]


async def proven() -> "Told | None":
    """Of what was verified before."""
    return None


@frozen
class Told:
    """What another server says of a room: our join, the state before it, and the events which authorize all that.

    Its signatures may still be being verified: `proof` ends with that, and gives what is left; None: all of it.
    """

    join: Arrival
    state: Sequence[Arrival] = field(repr=False)
    auth_chain: Sequence[Arrival] = field(repr=False)
    proof: Proof = proven


@frozen(eq=False)
class _Found:
    """What of the told events is stored already, and how many chains the room has."""

    events: Mapping[str, StoredEvent]
    chains: int


@frozen
class Adoption:
    """Takes rooms over from what other servers tell of them."""

    timeline: Timeline
    arrivals: Arrivals

    async def adopt(self, version: RoomVersion, told: Told) -> Room:
        """Enter the room by the join. Raises NotAdopted.

        The work goes on while signatures are verified; should some not hold, it is done again without their events.
        """
        try:
            return await self._adopted(version, told)
        except (NotAdopted, _Disproven):
            rest = await told.proof()
            if rest is None:
                raise
        return await self.adopt(version, rest)

    async def _adopted(self, version: RoomVersion, told: Told) -> Room:
        join = told.join.event
        arrivals = {one.event.event_id: one for one in (*told.auth_chain, *told.state)}
        arrivals.pop(join.event_id, None)
        if version.event_id_in_pdu:
            arrivals = await self._as_first_told(await self._room(version, join), arrivals)
        events = [one.event for one in arrivals.values()]
        keys = asyncio.create_task(
            self._key_nids(events)
        )  # which takes the database as long as all that we do
        try:
            return await self._judged(version, told, arrivals, keys)
        finally:
            keys.cancel()
            await asyncio.gather(keys, return_exceptions=True)

    async def _judged(
        self,
        version: RoomVersion,
        told: Told,
        arrivals: Mapping[str, Arrival],
        keys: "asyncio.Task[dict[StateKey, int]]",
    ) -> Room:
        join = told.join.event
        judgements, room, known = await asyncio.gather(
            asyncio.to_thread(judge_told, [one.event for one in arrivals.values()], join.room_id),
            self._room(version, join),
            self._known(arrivals),
        )
        found = await self._found(room, known)
        if judgements.rejected:
            first = next(iter(judgements.rejected.values()))
            log.info("events that came with a join were rejected", room=join.room_id,
                     events=len(judgements.rejected), first=first)  # fmt: skip
        for attempt in range(1, ATTEMPTS + 1):
            try:
                learned = await self._learned(room, judgements, keys, found)
                await self._entered_by(told, learned, arrivals)
                return room
            except (HeadMoved, UniqueViolation):  # another process entered the room, or keeps what we learned
                if attempt == ATTEMPTS:
                    raise
            found = await self._found(room, await self._known(arrivals))
        raise AssertionError("unreachable")

    async def _entered_by(self, told: Told, learned: Learned, arrivals: Mapping[str, Arrival]) -> None:
        state = learned.state(told.state)
        _check_join(told.join, learned, state)
        head = await self.timeline.heads.get(learned.room)
        if head is None:
            head = await self._founded(learned, state, arrivals, told.proof)
        else:
            await self._kept(learned, learned.rows(arrivals), told.proof)
        await self._enter(head, learned, state, told.join)

    # --- what was told, as it will be stored

    async def _room(self, version: RoomVersion, join: Event) -> Room:
        nid = await self.timeline.writing.numbers.room()
        async with self.timeline.writing.database.transaction() as conn:
            nid, name = await tables.claim_room(conn, Room(nid, join.room_id, version), join.origin_server_ts)
        if name != version.name:
            raise NotAdopted(f"the room is one of version {name}")
        room = Room(nid, join.room_id, version)
        self.timeline.heads.reader.rooms.add(room)
        return room

    async def _as_first_told(self, room: Room, arrivals: Mapping[str, Arrival]) -> dict[str, Arrival]:
        """Where senders choose ids, the first event of an id counts; one of another room is as if it was not told."""
        known = await self._known(arrivals)
        foreign = {event_id for event_id, one in known.items() if one.room.nid != room.nid}
        return {i: as_first_told(one, known.get(i)) for i, one in arrivals.items() if i not in foreign}

    async def _known(self, event_ids: Collection[str]) -> Mapping[str, StoredEvent]:
        async with self.timeline.writing.database.read() as conn:
            return await self.timeline.heads.reader.by_ids(conn, event_ids)

    async def _found(self, room: Room, known: Mapping[str, StoredEvent]) -> _Found:
        async with self.timeline.writing.database.read() as conn:
            return _Found(known, await auth_chains.last_chain(conn, room.nid))

    async def _learned(
        self, room: Room, judgements: Judgements, keys: "asyncio.Task[dict[StateKey, int]]", found: _Found
    ) -> Learned:
        known = {event_id: one for event_id, one in found.events.items() if not is_unjudged(one)}
        missing = len(judgements.by_id) - len(judgements.by_id.keys() & found.events.keys())
        (placements, chains), numbers = await asyncio.gather(
            asyncio.to_thread(place_told, judgements, known, found.chains),
            self.timeline.writing.numbers.many_events(missing),
        )
        nids = numbered(judgements.ordered, found.events, numbers)
        return Learned(
            room, judgements, found.events, nids, await asyncio.shield(keys), Cover(placements, chains)
        )

    async def _key_nids(self, events: Sequence[Event]) -> dict[StateKey, int]:
        wanted = {event.key for event in events if event.is_state}
        wanted |= {("m.room.member", event.sender) for event in events}
        keys = sorted(wanted)
        pieces = [keys[start : start + KEYS_AT_ONCE] for start in range(0, len(keys), KEYS_AT_ONCE)]
        found: dict[StateKey, int] = {}
        for first in range(0, len(pieces), 2):  # two wait for the disk together
            for some in await asyncio.gather(
                *map(self.timeline.writing.state_keys.intern, pieces[first : first + 2])
            ):
                found |= some
        return found

    # --- writing

    async def _founded(
        self,
        learned: Learned,
        state: Mapping[StateKey, Event],
        arrivals: Mapping[str, Arrival],
        proof: Proof,
    ) -> Head:
        """A head with the told state and no extremities: nobody sees the room before the join is written."""
        # The events go beside the state, on another connection; when that is through with the state it takes its part
        # of them, unless some must be forgotten first.
        events = iter(learned.rows(arrivals))
        shared = iter(()) if learned.replaced() else events
        outliers = asyncio.create_task(self._kept(learned, events, proof))
        try:
            marker = (await self.timeline.writing.numbers.events(1)).start
            entries = learned.entries(state)
            counts = Counter(membership for *_, membership in entries)
            row = HeadRow(
                version=marker, extremities=(), depth=0, sp=len(entries), chains=learned.cover.chains,
                joined=counts[MEMBERSHIPS["join"]], invited=counts[MEMBERSHIPS["invite"]], position=0,
            )  # fmt: skip
            await self._begun(learned.room, row, entries, shared, proof)
        except BaseException:
            outliers.cancel()
            await asyncio.gather(outliers, return_exceptions=True)
            raise
        await outliers
        return Head(
            learned.room,
            version=marker,
            sp=row.sp,
            chains=row.chains,
            joined=row.joined,
            invited=row.invited,
        )

    async def _begun(
        self,
        room: Room,
        row: HeadRow,
        entries: Sequence[tables.Entry],
        events: Iterator[tables.OutlierRow],
        proof: Proof,
    ) -> None:
        async with self.timeline.writing.database.transaction() as conn:
            await tables.leave_flush_to_next(conn)
            if not await tables.begin_head(conn, room.nid, row):
                raise HeadMoved("another process has entered the room meanwhile")
            await tables.begin_state(conn, room.nid, entries)
            await tables.insert_outliers(conn, room.nid, events)
            await _require(proof)

    async def _kept(self, learned: Learned, events: Iterator[tables.OutlierRow], proof: Proof) -> None:
        async with self.timeline.writing.database.transaction() as conn:
            await tables.leave_flush_to_next(conn)
            await tables.forget_outliers(conn, learned.replaced())
            await tables.insert_outliers(conn, learned.room.nid, events)
            await _require(proof)

    async def _enter(
        self, head: Head, learned: Learned, state: Mapping[StateKey, Event], join: Arrival
    ) -> None:
        """The join, behind what the main line must become for it."""
        async with head.lock:
            if not head.alive:
                raise HeadMoved("the head was dropped while waiting for it")
            await head.settled()
            try:
                written = await self._entered(head, learned, state, join)
            except BaseException:
                self.timeline.heads.drop(head)
                raise
        await asyncio.shield(written)

    async def _entered(
        self, head: Head, learned: Learned, state: Mapping[StateKey, Event], join: Arrival
    ) -> "asyncio.Future[None]":
        async with self.timeline.writing.database.leading_read() as conn:
            intake = await self.arrivals.taking.intake(conn, head, [join])
            changes = await self._differing(conn, head, learned, state)
            auth = [intake.known[cited] for cited in join.event.auth_events if cited in intake.known]
            head.chains, head.tips = max(head.chains, learned.cover.chains), {}
            await self.arrivals.taking.enter(conn, intake, join, changes, auth)
        self.timeline.heads.put(head)
        return await self.arrivals.taking.written(intake)

    async def _differing(
        self, conn: Connection, head: Head, learned: Learned, state: Mapping[StateKey, Event]
    ) -> dict[StateKey, StoredEvent | None]:
        """What the main line must change to be what was told: nothing for a room that was just begun."""
        if not head.extremities:
            return {}
        room_nid = head.room.nid
        now = (await room_state.whole_current(conn, [room_nid], members=True)).get(room_nid, {})
        told = {learned.keys[key] for key in state}
        gone = await self.timeline.writing.state_keys.names(conn, now.keys() - told)
        changed = {
            key: learned.stored(event.event_id)
            for key, event in state.items()
            if now.get(learned.keys[key]) != learned.nids[event.event_id]
        }
        return {**changed, **dict.fromkeys(gone.values())}


async def _require(proof: Proof) -> None:
    """Nothing is committed before all signatures are verified. Raises _Disproven, which rolls back."""
    if await proof() is not None:
        raise _Disproven


def _check_join(join: Arrival, learned: Learned, state: Mapping[StateKey, Event]) -> None:
    """The join must stand on the told state [ss "Joining Rooms"]."""
    create, event, version = state.get(CREATE), join.event, learned.room.version
    if create is None:
        raise NotAdopted("the state has no create event")
    if create.content.get("room_version", "1") != version.name:
        raise NotAdopted("the create event is of another room version")
    auth = []
    for cited in event.auth_events:
        stored = learned.stored(cited)
        if stored is None:
            raise NotAdopted(f"the join cites {cited}, which was not told")
        auth.append(stored.event)
    try:
        cited_state = check_auth_events(event, auth, rejected=learned.judgements.rejected, create=create)
        check_auth(event, cited_state, authorizer_signed=join.authorizer_signed)
        told = AuthState({key: state[key] for key in judging(event) if key in state}, version)
        check_auth(event, told, authorizer_signed=join.authorizer_signed)
    except NotAllowed as refusal:
        raise NotAdopted(f"the state does not allow the join: {refusal}") from refusal
