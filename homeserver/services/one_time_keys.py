"""One-time keys are handed out, each at most once; then the device's fallback key [cs "POST /keys/claim"].

A claim is a write on the clock: it is durable before anybody has the key, and claims of all processes come one
after the other.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

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


@define
class ClaimAnswers:
    """user id -> device id -> name of the key -> JSON text; and the servers that did not answer."""

    keys: dict[str, dict[str, dict[str, str]]] = field(factory=dict)
    failures: dict[str, dict[str, Any]] = field(factory=dict)

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


@frozen
class OneTimeKeys:
    """Hands keys out."""

    database: Database
    committer: Committer
    state_keys: StateKeys
    server_name: str
    ask_servers: AskForKeys = no_servers

    async def claim(self, wanted: Claims, timeout: float) -> ClaimAnswers:
        """A key for each device of any server that has one, within `timeout` seconds."""
        ours = {user: devices for user, devices in wanted.items() if domain_of(user) == self.server_name}
        others = {user: devices for user, devices in wanted.items() if user not in ours}
        found = await self.claim_ours(ours)
        if others:
            answers = await self.ask_servers(others, timeout)
            found.keys |= answers.keys
            found.failures |= answers.failures
        return found

    async def claim_ours(self, wanted: Claims) -> ClaimAnswers:
        """A key for each device of ours that has one."""
        devices = await self._devices(wanted)
        if not devices:
            return ClaimAnswers()
        asked: dict[str, list[int]] = {}
        for nid, (user_id, device_id, _) in devices.items():
            asked.setdefault(wanted[user_id][device_id], []).append(nid)
        if len(asked) > MAX_ALGORITHMS:
            raise invalid_param("Too many different algorithms in one claim")

        async def job(conn: Connection, position: int) -> list[ClaimedKey]:
            return [key for algorithm, nids in asked.items() for key in await _claim(conn, algorithm, nids)]

        users = tuple({user_nid for _, _, user_nid in devices.values()})
        found = ClaimAnswers()
        for key in await self.committer.run(job, Touched(users=users, kind=Kind.KEY_COUNTS)):
            user_id, device_id, _ = devices[key.device_nid]
            of_device = found.keys.setdefault(user_id, {}).setdefault(device_id, {})
            of_device[f"{key.algorithm}:{key.key_id}"] = key.json
        return found

    async def _devices(self, wanted: Claims) -> dict[int, tuple[str, str, int]]:
        """The devices there are: device_nid -> (user id, device id, user_nid)."""
        async with self.database.read() as conn:
            nids = await self.state_keys.find(conn, [user_key(user_id) for user_id in wanted])
            users = {nid: key[1] for key, nid in nids.items()}
            found = await one_time_keys.devices_of(conn, list(users)) if users else []
        return {
            device_nid: (users[user_nid], device_id, user_nid)
            for user_nid, device_id, device_nid in found
            if device_id in wanted[users[user_nid]]
        }


async def _claim(conn: Connection, algorithm: str, device_nids: list[int]) -> list[ClaimedKey]:
    claimed = await one_time_keys.claim(conn, device_nids, algorithm)
    served = {key.device_nid for key in claimed}
    rest = [nid for nid in device_nids if nid not in served]
    return claimed + (await one_time_keys.claim_fallback(conn, rest, algorithm) if rest else [])
