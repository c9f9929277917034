"""Servers that accept a request and never answer keep nobody waiting for long."""

import asyncio

import pytest
from attrs import define, field
from signedjson.key import generate_signing_key

from federation.candidates import Candidates, first_of
from federation.client.membership import Template
from federation.joining import Handshake
from federation.leaving import Leaving
from federation.own_events import BadAnswer, Wanted
from homeserver.core.errors import MatrixError
from homeserver.core.event_build import Signer
from homeserver.core.room_versions import V10
from homeserver.services.judging import Arrival
from homeserver.services.remote_rooms import RemoteRooms
from tests.kit.remote_room import RemoteRoom, pdu_bytes
from tests.kit.services import ALICE, SERVER, build_kit

SIGNER = Signer(SERVER, generate_signing_key("test"))
WANTED = Wanted("!room:far.example", ALICE, "join", {"membership": "join"}, 1_700_000_000_000)
SOON = 0.05


@define
class Silent:
    """How a server behaves that takes requests and says nothing."""

    asked: list[str] = field(factory=list)

    async def make_join(self, destination: str, *_: object) -> Template:
        self.asked.append(destination)
        return await asyncio.Event().wait()  # type: ignore[return-value]

    make_leave = make_join


async def test_the_next_server_gets_its_turn():
    silent = Silent()
    handshake = Handshake(silent, None, SIGNER, patience=SOON)  # type: ignore[arg-type]

    async def ask(server: str) -> str:
        if server == "fast.example":
            return "in"
        async with handshake.through(server, WANTED):
            raise AssertionError("it has never answered")

    assert await first_of(["slow.example", "slower.example", "fast.example"], ask) == "in"
    assert silent.asked == ["slow.example", "slower.example"]
    with pytest.raises(BadAnswer):
        async with handshake.through("slow.example", WANTED):
            pass
    with pytest.raises(MatrixError, match="M_NOT_FOUND"):
        await first_of(["slow.example"], ask)


async def test_an_invitation_is_dismissed_in_time(database):
    kit = build_kit(database)
    remote_rooms, silent = RemoteRooms(kit.timeline.writing), Silent()
    room = RemoteRoom.founded(V10, "far.example", generate_signing_key("far"))
    room.public("@alice:far.example")
    invite = room.member("@alice:far.example", ALICE, "invite")
    assert await remote_rooms.invited(Arrival(invite, pdu_bytes(invite)), [])
    candidates = Candidates(remote_rooms, SERVER, lambda name: True)
    leaving = Leaving(silent, candidates, SIGNER, patience=SOON)  # type: ignore[arg-type]
    assert await leaving.leave(room.room_id, ALICE)
    assert silent.asked == ["far.example"]
    assert await remote_rooms.has_left(room.room_id, ALICE)
    assert not await leaving.leave("!unheard-of:far.example", ALICE)
