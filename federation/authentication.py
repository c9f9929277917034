"""Which server asks? The signature in its Authorization header says so [ss "Request Authentication"]."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import structlog
from attrs import define, field

from federation.peers import Peers
from federation.protocol.x_matrix import (
    InvalidHeader,
    NoServerName,
    SignedRequest,
    XMatrix,
    parse,
    signature_holds,
)
from homeserver.core.errors import MatrixError, bad_json, forbidden, invalid_param, limit_exceeded
from homeserver.core.receipt_checks import ServerKey, ServerKeys
from homeserver.services.now import Clock, now_ms
from homeserver.web.call import Call
from storage.server_keys import KeyName

log = structlog.get_logger(__name__)

PATIENCE = 10.0  # seconds for keys that we do not have
MAX_WAITING = 200  # requests whose keys are being looked for; anybody can make us look for some
MAX_HEADERS = 5  # one a key that the server signs with
_OBJECT = re.compile(rb"[ \t\r\n]*\{")


class Keys(Protocol):
    """What is used of the key ring."""

    def at_hand(self, wanted: Mapping[KeyName, int]) -> ServerKeys | None: ...

    async def keys(self, wanted: Mapping[KeyName, int], *, patience: float, speaking: bool) -> ServerKeys: ...


@define(eq=False)
class _Refusal(Exception):
    """Not believed: what the peer is told, and how."""

    origin: str
    reason: str


@define(eq=False)
class ServerAuthentication:
    """Gate.server: gives the name of the server that signed the request, or refuses."""

    ring: Keys
    peers: Peers
    spoke_to_us: Callable[[str], None]
    clock: Clock = now_ms
    _waiting: int = field(default=0, init=False)

    async def __call__(self, call: Call) -> str:
        try:
            return await self._origin(call)
        except _Refusal as refusal:
            log.info(
                "did not believe a server",
                origin=refusal.origin,
                reason=refusal.reason,
                client=call.client_ip,
            )
            raise MatrixError(401, "M_UNAUTHORIZED", refusal.reason) from refusal

    async def _origin(self, call: Call) -> str:
        said = self._headers(call.headers("Authorization"))
        origin = said[0].origin
        if (refusal := self.peers.refusal(origin)) is not None:
            log.info("refused a server", origin=origin, reason=refusal, client=call.client_ip)
            raise forbidden(f"{self.peers.own_name} does not federate with {origin}")
        keys = await self._keys(said)
        self._require_signature(call, said, keys)
        if call.raw_body and _OBJECT.match(call.raw_body) is None:
            raise bad_json("The request body must be a JSON object")
        self.spoke_to_us(origin)
        return origin

    def _headers(self, headers: Sequence[str]) -> list[XMatrix]:
        """What the headers say, all of one server and meant for us; one that cannot be read spoils no other."""
        said, faults = [], ["the request has no Authorization header of the scheme X-Matrix"]
        for header in headers[:MAX_HEADERS]:
            try:
                said.append(parse(header))
            except NoServerName as fault:
                raise invalid_param(f"The Authorization header is none of a server: {fault}") from fault
            except InvalidHeader as fault:
                faults.append(f"the Authorization header is none of a server: {fault}")
        if not said:
            raise _Refusal("", faults[-1])
        origin = said[0].origin
        if any(one.origin != origin for one in said):
            raise _Refusal(origin, "the Authorization headers name several servers")
        for one in said:
            if not one.is_meant_for(self.peers.own_name):
                raise _Refusal(
                    origin, f"the request is meant for {one.destination}, not {self.peers.own_name}"
                )
        return said

    async def _keys(self, said: Sequence[XMatrix]) -> ServerKeys:
        """The keys that the headers name, if they sign requests now."""
        now = self.clock()
        wanted = {(one.origin, one.key_id): now for one in said}
        keys = self.ring.at_hand(wanted)
        if keys is None:
            keys = await self._look_for(wanted)
        return {name: key for name, key in keys.items() if _signs_now(key, now)}

    async def _look_for(self, wanted: Mapping[KeyName, int]) -> ServerKeys:
        if self._waiting >= MAX_WAITING:
            raise limit_exceeded(5000)
        self._waiting += 1
        try:
            return await self.ring.keys(wanted, patience=PATIENCE, speaking=True)
        finally:
            self._waiting -= 1

    def _require_signature(self, call: Call, said: Sequence[XMatrix], keys: ServerKeys) -> None:
        origin, own_name = said[0].origin, self.peers.own_name
        request = SignedRequest(call.method, call.raw_target, origin, own_name, call.raw_body or None)
        known = [(one, keys[origin, one.key_id]) for one in said if (origin, one.key_id) in keys]
        if not known:
            named = ", ".join(one.key_id for one in said)
            raise _Refusal(origin, f"no valid key {named} of {origin} could be had")
        if not any(signature_holds(request, one.signature, key.key) for one, key in known):
            raise _Refusal(origin, f"the signature of {origin} does not fit the request")


def _signs_now(key: ServerKey, now: int) -> bool:
    """Retired keys are "only valid for signing events" [ss "Publishing Keys"]."""
    return not key.retired and key.valid_until_ts >= now
