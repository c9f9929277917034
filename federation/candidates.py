"""Through which servers a room can be entered, in the order in which they are asked."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

import structlog
from attrs import frozen

from federation.own_events import BadAnswer
from federation.refusals import for_client
from federation.transport.requests import PeerFault, PeerRefused
from homeserver.core.errors import MatrixError, not_found
from homeserver.core.ids import domain_of, is_server_name
from homeserver.services.remote_rooms import RemoteRooms
from storage import remote_rooms as rows

T = TypeVar("T")

log = structlog.get_logger(__name__)

MAX_CANDIDATES = 10
# The room says so, whichever of its servers is asked.
FINAL = ("M_INCOMPATIBLE_ROOM_VERSION", "M_UNSUPPORTED_ROOM_VERSION")


@frozen
class Candidates:
    """Names servers and asks them one after the other."""

    remote_rooms: RemoteRooms
    server_name: str
    may_ask: Callable[[str], bool]

    async def of(self, room_id: str, user_id: str, via: Iterable[str] = ()) -> list[str]:
        """Those that the client names, who invited, whom the invite shows, who was there once, who made the room."""
        prospect = await self.remote_rooms.prospect(room_id, user_id)
        shown = prospect.servers if prospect is not None else ()
        named = [*via, *shown, *await self._known(room_id), domain_of(room_id)]
        usable = [name for name in named if name != self.server_name and is_server_name(name)]
        chosen = list(dict.fromkeys(usable))[:MAX_CANDIDATES]
        return sorted(chosen, key=lambda name: not self.may_ask(name))  # who seems to be down comes last

    async def _known(self, room_id: str) -> Sequence[str]:
        writing = self.remote_rooms.writing
        async with writing.database.read() as conn:
            room = await writing.reader.rooms.find(conn, room_id)
            return await rows.joined_servers(conn, room.nid) if room is not None else []


async def first_of(servers: Sequence[str], ask: Callable[[str], Awaitable[T]]) -> T:
    """The first usable answer. Raises what a client should be told when there is none."""
    faults: list[PeerFault | BadAnswer] = []
    for server in servers:
        try:
            return await ask(server)
        except (PeerFault, BadAnswer) as fault:
            log.info("a server did not let us in", server=server, why=str(fault))
            faults.append(fault)
            if isinstance(fault, PeerRefused) and fault.errcode in FINAL:
                break
    raise _told(faults)


def _told(faults: Sequence[PeerFault | BadAnswer]) -> MatrixError:
    """The clearest of the answers: a refusal with a reason, before anything that failed."""
    refusals = [fault for fault in faults if isinstance(fault, PeerRefused) and 400 <= fault.status < 500]
    refusals.sort(key=lambda refusal: (refusal.errcode not in FINAL, refusal.status != 403))
    if refusals:
        return for_client(refusals[0])
    if not faults:
        return not_found("No server is known that is in this room; name one with the parameter via")
    return for_client(faults[-1])
