"""Checks 1 to 3 on some PDUs of one room: what a thread does in one go, as `verify` has it done."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import structlog
from attrs import evolve

from federation.signature_process import Claim
from homeserver.core.canonical_json import NotCanonical, Unparsed, decode_lenient
from homeserver.core.event import Event
from homeserver.core.hashing import canonical_bytes
from homeserver.core.receipt_checks import (
    Dropped,
    ServerKeys,
    Verifies,
    authorizer_signed,
    check_hash,
    check_received,
    check_signatures,
    keys_needed,
)
from homeserver.core.room_versions import RoomVersion
from homeserver.core.signing import signature_verifies
from homeserver.services.judging import Arrival
from storage.server_keys import KeyName

log = structlog.get_logger(__name__)

Wanted = dict[KeyName, int]  # keys that signatures name: the latest time at which each must have been valid


class Read(NamedTuple):
    """An event that has passed check 1; what comes of it if its signatures hold (check 3 is in that), and these."""

    event: Event
    arrival: Arrival
    covered: bytes  # what the signatures are over
    names: frozenset[KeyName]


def read(version: RoomVersion, wanted: Wanted, pdus: Sequence[Any]) -> list[Read | Dropped]:
    """Checks 1 and 3, and in `wanted` the keys for the others.

    Until room version 4 nobody asks for how long a key is valid [rooms/v5 "Signing key validity period"].
    """
    found: list[Read | Dropped] = []
    same: dict[frozenset[KeyName], frozenset[KeyName]] = {}  # nearly all events name the same
    for pdu in pdus:
        received = check_received(pdu, version)
        if isinstance(received, Dropped):
            _tell(pdu, received)
            found.append(received)
            continue
        event = received.event
        until = event.origin_server_ts if version.enforce_key_validity else 0
        names = keys_needed(event.pdu, version)
        names = same.setdefault(names, names)
        for name in names:
            wanted[name] = max(until, wanted.get(name, 0))
        kept = check_hash(event)
        json = received.json if kept is event else canonical_bytes(kept.pdu, version)
        found.append(Read(event, Arrival(kept, json), received.covered, names))
    return found


def named(some: Iterable[Read | Dropped]) -> set[KeyName]:
    """All keys that signatures of the events name."""
    return {name for one in some if isinstance(one, Read) for name in one.names}


def unverified(slices: Iterable[Iterable[Read | Dropped]]) -> list[Arrival | Dropped]:
    """What the events come to if all signatures hold."""
    return [one.arrival if isinstance(one, Read) else one for some in slices for one in some]


def claims(some: Iterable[Read | Dropped], keys: ServerKeys) -> list[Claim]:
    """The signatures of the events by those of the keys that they name."""
    return [
        (one.covered, one.event.pdu["signatures"][name[0]][name[1]], bytes(keys[name].key))
        for one in some
        if isinstance(one, Read)
        for name in one.names
        if name in keys
    ]


def verified(
    keys: ServerKeys, some: Sequence[Read | Dropped], proven: frozenset[Claim] = frozenset()
) -> list[Arrival | Dropped]:
    """Check 2, and the signature that check 4 asks for; `proven` ones are not computed again."""

    def known(message: bytes, text: object, key: Any) -> bool:
        return (message, text, bytes(key)) in proven or signature_verifies(message, text, key)

    verifies: Verifies = known if proven else signature_verifies
    return [one if isinstance(one, Dropped) else _verified(one, keys, verifies) for one in some]


def _verified(one: Read, keys: ServerKeys, verifies: Verifies) -> Arrival | Dropped:
    dropped = check_signatures(one.event, keys, covered=one.covered, verifies=verifies)
    if dropped is not None:
        _tell(one.event.pdu, dropped)
        return dropped
    if authorizer_signed(one.event, keys):
        return one.arrival
    return evolve(one.arrival, authorizer_signed=False)


def _tell(pdu: Any, dropped: Dropped) -> None:
    """Why, for the operator; the names are the PDU's own word."""
    if isinstance(pdu, Unparsed):
        try:
            pdu = decode_lenient(pdu)
        except NotCanonical:
            pdu = None
    said = {name: pdu.get(name) for name in ("type", "sender", "room_id")} if isinstance(pdu, dict) else {}
    names = {name: value[:255] for name, value in said.items() if isinstance(value, str)}
    log.info("dropped a PDU", check=dropped.check, reason=dropped.reason, **names)
