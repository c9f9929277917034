"""One-time keys are handed out, each at most once; then the device's fallback key [cs "POST /keys/claim"].

A claim is a write on the clock: it is durable before anybody has the key, and claims of all processes come one
after the other.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Protocol

import orjson
from attrs import define, field, frozen

from homeserver.core.errors import invalid_param
from homeserver.core.ids import domain_of
from storage import one_time_keys
from storage.committer import Committer, Kind, Touched
from storage.database import Connection, Database
from storage.one_time_keys import ClaimedKey
from storage.state_keys import StateKeys, user_key

MAX_ALGORITHMS = 8  # each is a statement of its own while the clock is locked

Claims = Mapping[str, Mapping[str, str]]  # user id -> device id -> algorithm
Keys = dict[str, dict[str, dict[str, str]]]  # user id -> device id -> name of the key -> JSON text
Devices = Mapping[int, tuple[str, str, int]]  # device_nid -> user id, device id, user_nid


@define
class ClaimAnswers:
    """The keys, and the servers that did not answer."""

    keys: Keys = field(factory=dict)
    failures: dict[str, dict[str, Any]] = field(factory=dict)

    def add(self, keys: Keys) -> None:
        """Take in what another source gives."""
        for user_id, devices in keys.items():
            self.keys.setdefault(user_id, {}).update(devices)

    def as_json(self) -> dict[str, Any]:
        """The fields of an answer to clients."""
        return {**self.as_peers_see(), "failures": self.failures}

    def as_peers_see(self) -> dict[str, Any]:
        """The fields of an answer to servers."""
        return {
            "one_time_keys": {
                user_id: {
                    device_id: {name: orjson.Fragment(text) for name, text in keys.items()}
                    for device_id, keys in devices.items()
                }
                for user_id, devices in self.keys.items()
            }
        }


AskForKeys = Callable[[Claims, float], Awaitable[ClaimAnswers]]

_UNREACHABLE = {"errcode": "M_UNAVAILABLE", "error": "This server cannot be asked"}


async def no_servers(wanted: Claims, timeout: float) -> ClaimAnswers:
    """For a server that speaks to no others."""
    return ClaimAnswers(failures=dict.fromkeys({domain_of(user) for user in wanted}, _UNREACHABLE))


class Services(Protocol):
    """Application services that have keys of their users' devices themselves."""

    def gives(self, user_id: str) -> bool:
        """Is there one to ask about this user?"""

    async def claim(self, wanted: Claims) -> Keys:
        """What they give; nothing where they fail."""


@frozen
class NoServices:
    """For a server without any."""

    def gives(self, user_id: str) -> bool:
        return False

    async def claim(self, wanted: Claims) -> Keys:
        return {}


@frozen
class OneTimeKeys:
    """Hands keys out."""

    database: Database
    committer: Committer
    state_keys: StateKeys
    server_name: str
    ask_servers: AskForKeys = no_servers
    services: Services = NoServices()

    async def claim(self, wanted: Claims, timeout: float) -> ClaimAnswers:
        """A key for each device of any server that has one, within `timeout` seconds."""
        ours = {user: devices for user, devices in wanted.items() if domain_of(user) == self.server_name}
        others = {user: devices for user, devices in wanted.items() if user not in ours}
        devices = await self._devices(ours)
        found = await self._at_once(ours, devices)
        told = self.ask_servers(others, timeout) if others else _nothing()
        _, answers = await asyncio.gather(self._from_services(found, ours, devices), told)
        found.add(answers.keys)
        found.failures |= answers.failures
        return found

    async def claim_ours(self, wanted: Claims) -> ClaimAnswers:
        """A key for each device of ours that has one."""
        devices = await self._devices(wanted)
        found = await self._at_once(wanted, devices)
        await self._from_services(found, wanted, devices)
        return found

    async def _at_once(self, wanted: Claims, devices: Devices) -> ClaimAnswers:
        """What is here; fallback keys only of those whom no service can give others for."""
        found = ClaimAnswers()
        await self._hand_out(found, wanted, devices, waiting=self._at_services(wanted))
        return found

    async def _from_services(self, found: ClaimAnswers, wanted: Claims, devices: Devices) -> None:
        """What is not here, and the fallback keys of those for whom there is nothing anywhere [MSC3983]."""
        missing = _missing({user_id: wanted[user_id] for user_id in self._at_services(wanted)}, found)
        if not missing:
            return
        found.add(await self.services.claim(missing))
        left = _missing(missing, found)
        rest = {nid: device for nid, device in devices.items() if device[1] in left.get(device[0], ())}
        await self._hand_out(found, wanted, rest)

    def _at_services(self, wanted: Claims) -> set[str]:
        return {user_id for user_id in wanted if self.services.gives(user_id)}

    async def _hand_out(
        self, found: ClaimAnswers, wanted: Claims, devices: Devices, *, waiting: Collection[str] = ()
    ) -> None:
        """Keys that we have; no fallback keys of users that are `waiting` for somebody else to be asked."""
        asked: dict[str, list[int]] = {}
        for nid, (user_id, device_id, _) in devices.items():
            asked.setdefault(wanted[user_id][device_id], []).append(nid)
        if len(asked) > MAX_ALGORITHMS:
            raise invalid_param("Too many different algorithms in one claim")
        if not asked:
            return
        later = {nid for nid, (user_id, _, _) in devices.items() if user_id in waiting}

        async def job(conn: Connection, position: int) -> list[ClaimedKey]:
            return [key for named in asked.items() for key in await _claim(conn, *named, later)]

        users = tuple({user_nid for _, _, user_nid in devices.values()})
        for key in await self.committer.run(job, Touched(users=users, kind=Kind.KEY_COUNTS)):
            user_id, device_id, _ = devices[key.device_nid]
            of_device = found.keys.setdefault(user_id, {}).setdefault(device_id, {})
            of_device[f"{key.algorithm}:{key.key_id}"] = key.json

    async def _devices(self, wanted: Claims) -> Devices:
        """The devices there are."""
        async with self.database.read() as conn:
            nids = await self.state_keys.find(conn, [user_key(user_id) for user_id in wanted])
            users = {nid: key[1] for key, nid in nids.items()}
            found = await one_time_keys.devices_of(conn, list(users)) if users else []
        return {
            device_nid: (users[user_nid], device_id, user_nid)
            for user_nid, device_id, device_nid in found
            if device_id in wanted[users[user_nid]]
        }


async def _nothing() -> ClaimAnswers:
    return ClaimAnswers()


def _missing(wanted: Claims, found: ClaimAnswers) -> Claims:
    """For which devices there is no key yet."""
    missing = {
        user_id: {
            device_id: algorithm
            for device_id, algorithm in devices.items()
            if device_id not in found.keys.get(user_id, {})
        }
        for user_id, devices in wanted.items()
    }
    return {user_id: devices for user_id, devices in missing.items() if devices}


async def _claim(
    conn: Connection, algorithm: str, device_nids: list[int], later: Collection[int]
) -> list[ClaimedKey]:
    claimed = await one_time_keys.claim(conn, device_nids, algorithm)
    done = {key.device_nid for key in claimed}.union(later)
    rest = [nid for nid in device_nids if nid not in done]
    return claimed + (await one_time_keys.claim_fallback(conn, rest, algorithm) if rest else [])
