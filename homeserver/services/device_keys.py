"""The keys of users and their devices, as others may see them [cs "Tracking the device list for a user"].

Keys of our own users are kept as text and spliced into the answer. Those of others come from `ask_servers`, which
federation gives: it looks into its copies first and asks servers for the rest.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import orjson
from attrs import define, field, frozen

from homeserver.core.device_keys import with_signatures
from homeserver.core.ids import domain_of
from storage import e2e_keys
from storage.database import Connection, Database
from storage.e2e_keys import MASTER, SELF_SIGNING, USER_SIGNING, UserSignature
from storage.state_keys import StateKeys, user_key

Wanted = Mapping[str, Sequence[str]]  # user id -> device ids, none: all


@define
class KeyAnswers:
    """What is known of users: texts of JSON objects. `failures`: servers that did not answer, and why."""

    device_keys: dict[str, str] = field(factory=dict)  # of a user: device id to keys
    master_keys: dict[str, str] = field(factory=dict)
    self_signing_keys: dict[str, str] = field(factory=dict)
    user_signing_keys: dict[str, str] = field(factory=dict)
    failures: dict[str, dict[str, Any]] = field(factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The fields of an answer to clients."""
        return {**self.as_peers_see(), "user_signing_keys": _spliced(self.user_signing_keys)} | {
            "failures": self.failures
        }

    def as_peers_see(self) -> dict[str, Any]:
        """The fields of an answer to servers."""
        return {
            "device_keys": _spliced(self.device_keys),
            "master_keys": _spliced(self.master_keys),
            "self_signing_keys": _spliced(self.self_signing_keys),
        }

    def add(self, other: "KeyAnswers") -> None:
        """Take in what another source knows."""
        self.device_keys |= other.device_keys
        self.master_keys |= other.master_keys
        self.self_signing_keys |= other.self_signing_keys
        self.failures |= other.failures


AskServers = Callable[[Wanted, float], Awaitable[KeyAnswers]]


class AskServices(Protocol):
    """Adds what application services know of users of ours that are theirs."""

    async def __call__(self, found: KeyAnswers, wanted: Wanted, *, names: bool) -> None:
        """As `DeviceKeys.of_ours`."""


async def no_services(found: KeyAnswers, wanted: Wanted, *, names: bool) -> None:
    """For a server without any."""


async def no_servers(wanted: Wanted, timeout: float) -> KeyAnswers:
    """For a server that speaks to no others."""
    return KeyAnswers(failures=dict.fromkeys({domain_of(user) for user in wanted}, _UNREACHABLE))


_UNREACHABLE = {"errcode": "M_UNAVAILABLE", "error": "This server cannot be asked"}


@frozen
class DeviceKeys:
    """Answers queries for keys."""

    database: Database
    state_keys: StateKeys
    server_name: str
    ask_servers: AskServers = no_servers
    ask_services: AskServices = no_services

    async def query(self, asker_nid: int, wanted: Wanted, timeout: float) -> KeyAnswers:
        """What one of our users may see of users of any server, within `timeout` seconds."""
        ours = {user: ids for user, ids in wanted.items() if domain_of(user) == self.server_name}
        others = {user: ids for user, ids in wanted.items() if user not in ours}
        found = await self._known(ours, names=True)
        told = self.ask_servers(others, timeout) if others else _nothing()
        _, answers = await asyncio.gather(self.ask_services(found, ours, names=True), told)
        found.add(answers)
        if found.master_keys:
            async with self.database.read() as conn:
                await self._private(conn, asker_nid, found, wanted)
        return found

    async def of_ours(self, wanted: Wanted, *, names: bool) -> KeyAnswers:
        """What everybody may see of our users; `names`: with the names they gave to their devices."""
        found = await self._known(wanted, names=names)
        await self.ask_services(found, wanted, names=names)
        return found

    async def _known(self, wanted: Wanted, *, names: bool) -> KeyAnswers:
        """What is known here."""
        found = KeyAnswers(device_keys=dict.fromkeys(wanted, "{}"))
        async with self.database.read() as conn:
            nids = await self.state_keys.find(conn, [user_key(user_id) for user_id in wanted])
            users = {nid: key[1] for key, nid in nids.items()}
            if not users:
                return found
            only = {nid: frozenset(wanted[user_id]) for nid, user_id in users.items() if wanted[user_id]}
            told, crossed = await e2e_keys.told_keys(conn, users, only=only, names=names)
        found.device_keys |= {users[nid]: text for nid, text in told.items()}
        for key in crossed:
            if key.usage == MASTER:
                found.master_keys[users[key.user_nid]] = key.json
            elif key.usage == SELF_SIGNING:
                found.self_signing_keys[users[key.user_nid]] = key.json
        return found

    async def _private(self, conn: Connection, asker_nid: int, found: KeyAnswers, wanted: Wanted) -> None:
        """What only the one who asks may see: the own user-signing key, and what it signed."""
        nids = await self.state_keys.find(conn, [user_key(user_id) for user_id in wanted])
        users = {nid: key[1] for key, nid in nids.items()}
        if asker_nid in users:
            own = await e2e_keys.cross_signing_keys(conn, [asker_nid])
            for key in own:
                if key.usage == USER_SIGNING:
                    found.user_signing_keys[users[asker_nid]] = key.json
        signed = [nid for nid, user_id in users.items() if user_id in found.master_keys]
        asker_id = (await self.state_keys.user_ids(conn, [asker_nid]))[asker_nid]
        for signature in await e2e_keys.user_signatures(conn, asker_nid, signed):
            user_id = users[signature.target_nid]
            found.master_keys[user_id] = _signed(found.master_keys[user_id], asker_id, signature)


async def _nothing() -> KeyAnswers:
    return KeyAnswers()


def described(devices: Mapping[str, tuple[str, str | None]]) -> str:
    """The text of an object, of device id to (keys, display name), as it is told."""
    told = {
        device_id: orjson.Fragment(f'{text[:-1]},"unsigned":{_said(name)}}}')
        for device_id, (text, name) in devices.items()
    }
    return orjson.dumps(told).decode()


def _said(name: str | None) -> str:
    return "{}" if name is None else orjson.dumps({"device_display_name": name}).decode()


def _signed(text: str, signer: str, signature: UserSignature) -> str:
    """A master key with a signature that its owner does not see; one of an earlier master key is dropped."""
    value = orjson.loads(text)
    if signature.target_key not in value["keys"].values():
        return text
    return orjson.dumps(with_signatures(value, signer, {signature.signer_key: signature.signature})).decode()


def _spliced(texts: Mapping[str, str]) -> dict[str, orjson.Fragment]:
    return {name: orjson.Fragment(text) for name, text in texts.items()}
