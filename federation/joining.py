"""Our users enter rooms through servers that are in them [ss "Joining Rooms"].

What is learned from the resident server (the join as it is signed, the state before it, what authorizes both) is a
value that `Adoption` judges and commits. Several of our users who want into the same room go one after the other: the
first brings the room, the others are simply in it.
"""

import asyncio
import operator
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import structlog
from attrs import frozen

from federation.candidates import Candidates, first_of
from federation.client.membership import MembershipRequests, SendJoinAnswer, Template
from federation.entering import Entering
from federation.gaps import Gaps
from federation.large_check import Checking
from federation.own_events import BadAnswer, Wanted, cosigned, finished, versions_for, wanted
from federation.verify import PduChecks
from homeserver.core.errors import forbidden
from homeserver.core.event_build import Built, Signer
from homeserver.core.ids import domain_of
from homeserver.core.membership import JOIN
from homeserver.core.receipt_checks import Accepted, Dropped
from homeserver.services.adoption import Adoption, NotAdopted, Proof, Told, proven
from homeserver.services.judging import Arrival, Waiting
from homeserver.services.member_content import MemberContents, Move
from homeserver.services.now import now_ms
from homeserver.services.restricted_joins import AUTHORIZER
from storage.committer import HeadMoved

log = structlog.get_logger(__name__)

PATIENCE = 15.0  # seconds for a template
LONGEST = 400.0  # seconds for all servers together: the client has long given up


@frozen
class Handshake:
    """The two requests of a join, and the checks of what they bring."""

    requests: MembershipRequests
    checks: PduChecks
    signer: Signer
    patience: float = PATIENCE

    @asynccontextmanager
    async def through(self, server: str, event: Wanted) -> AsyncIterator[Told]:
        """What `server` tells us of the room once it has let us in. Raises PeerFault, BadAnswer.

        Within the block its signatures are still being verified: `Told.proof` says how that ends.
        """
        template = await self._template(server, event)
        built = finished(template, event, self.signer)
        join_id, pdu = built.event.event_id, built.event.pdu
        answer = await self.requests.send_join(server, event.room_id, join_id, pdu)
        if answer.members_omitted:
            raise BadAnswer("members are missing that we did not renounce")
        join = await self._join(built, answer)
        states = len(answer.state)
        begun = self.checks.begun([*answer.state, *answer.auth_chain], built.event.version)
        del answer
        async with begun as checking:
            if _is_state(_passed(checking.unverified[:states])):
                yield _told(join, checking.unverified, states, _proof(join, checking, states))
            else:
                yield _told(join, await checking.outcome(), states)

    async def _template(self, server: str, event: Wanted) -> Template:
        """Quickly or not at all: there may be a better server to ask."""
        try:
            async with asyncio.timeout(self.patience):
                return await self.requests.make_join(server, event.room_id, event.user_id, versions_for(JOIN))
        except TimeoutError as cause:
            raise BadAnswer("no template came in time") from cause

    async def _join(self, built: Built, answer: SendJoinAnswer) -> Arrival:
        """Our event, with the signature of the server that authorizes it where one is needed."""
        event = built.event
        authorizer = event.content.get(AUTHORIZER)
        if not isinstance(authorizer, str):
            return Arrival(event, built.json)
        if answer.event is None:
            raise BadAnswer("the join came back without the signature of who authorizes it")
        pdu = cosigned(event.pdu, answer.event, [domain_of(authorizer)], event.version)
        join = (await self.checks.check([pdu], event.version))[0]
        if isinstance(join, Dropped):
            raise BadAnswer(f"the join is not signed as it should be: {join.reason}")
        return join


@frozen
class Joining:
    """Brings rooms here."""

    handshake: Handshake
    candidates: Candidates
    contents: MemberContents
    adoption: Adoption
    gaps: Gaps
    entering: Entering

    async def join(self, move: Move, via: Iterable[str] = ()) -> bool:
        """Enter a room that we do not follow. False: somebody else has brought it meanwhile, nothing was done.

        Raises the clearest refusal of the servers that were asked.
        """
        is_resident = self.candidates.remote_rooms.is_resident
        async with self.entering.turn(move.room_id), asyncio.timeout(LONGEST):
            if await is_resident(move.room_id):
                return False
            event = await self._wanted(move)
            servers = await self.candidates.of(move.room_id, move.target, via)
            try:
                await first_of(servers, lambda server: self._adopted(server, event))
            except HeadMoved:
                if await is_resident(move.room_id):
                    return False  # another process was faster
                raise
            return True

    async def join_followed(self, move: Move, via: Iterable[str] = ()) -> bool:
        """Enter a restricted room that we follow but where only others may let the user in. False: there are none."""
        servers = await self.candidates.of(move.room_id, move.target, via)
        if not servers:
            return False
        event = await self._wanted(move)
        async with asyncio.timeout(LONGEST):
            await first_of(servers, lambda server: self._taken(server, event))
        return True

    async def _wanted(self, move: Move) -> Wanted:
        return wanted(move, await self.contents.of(move), now_ms())

    async def _adopted(self, server: str, event: Wanted) -> None:
        async with self.handshake.through(server, event) as told:
            known = await self.candidates.remote_rooms.entered(event.room_id)
            if known is not None and known.version != told.join.event.version:
                raise BadAnswer("the room has another version")
            try:
                await self.adoption.adopt(told.join.event.version, told)
            except NotAdopted as refusal:
                raise BadAnswer(f"the room that it told does not hold: {refusal}") from refusal
        log.info("joined a room", room_id=event.room_id, through=server, state=len(told.state))

    async def _taken(self, server: str, event: Wanted) -> None:
        """The room has our join from `server` already; here it is an event like others."""
        async with self.handshake.through(server, event) as told:
            join = told.join
        arrivals = self.gaps.arrivals
        verdict = await arrivals.receive(join)
        if isinstance(verdict, Waiting):
            head = await arrivals.timeline.head(event.room_id)
            verdicts = await self.gaps.close(head.room, server, [join])
            verdict = verdicts[join.event.event_id]
        if isinstance(verdict, Waiting):
            raise BadAnswer("the join follows events that cannot be had")
        if not isinstance(verdict, Accepted):
            raise forbidden(f"The room does not allow this: {verdict.reason}")


def _told(join: Arrival, checked: Sequence[Arrival | Dropped], states: int, proof: Proof = proven) -> Told:
    """`checked` are the state, which has so many events, and the auth chain."""
    state = _passed(checked[:states])
    if not _is_state(state):
        raise BadAnswer("the state has an event that is none, or two for one key")
    return Told(join, state, _passed(checked[states:]), proof)


def _proof(join: Arrival, checking: Checking, states: int) -> Proof:
    """What is left of the told events once all signatures are verified; None: all of them."""

    async def proof() -> Told | None:
        outcome = await checking.outcome()
        same = all(map(operator.is_, outcome, checking.unverified))
        return None if same else _told(join, outcome, states)

    return proof


def _is_state(arrivals: Sequence[Arrival]) -> bool:
    """Are the events a state: all are of a key, and no two of the same?"""
    return len({one.event.key for one in arrivals if one.event.is_state}) == len(arrivals)


def _passed(checked: Iterable[Arrival | Dropped]) -> list[Arrival]:
    """What fails checks 1 to 3 is as if it had not been told."""
    return [one for one in checked if not isinstance(one, Dropped)]
