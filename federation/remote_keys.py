"""Keys of other servers' users, for our users: from good copies at once, else from their servers.

A few users who share a room with us get their copy right away, if that takes no more than half of the client's
patience. For all others a server is asked once, and those in sight get a copy in the background. Who does not answer is
named in `failures`; what an old copy knows is then better than nothing. [ss "End-to-End Encryption"]
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog
from attrs import frozen

from federation.client.keys import KeyRequests, QueriedKeys
from federation.transport.requests import PeerFault, PeerRefused
from homeserver.core.device_keys import claimed_key
from homeserver.core.ids import domain_of
from homeserver.services.checked_keys import Told, TrustedKeys, add_trusted, display_names, trusted_keys
from homeserver.services.device_keys import KeyAnswers, Wanted
from homeserver.services.one_time_keys import ClaimAnswers, Claims
from storage import e2e_keys, remote_devices
from storage.database import Database
from storage.state_keys import StateKeys, user_key

log = structlog.get_logger(__name__)

FEW = 5  # users of one server: for more, one question about all of them is quicker
Failure = dict[str, Any]


@frozen
class RemoteKeys:
    """Asks for keys. `fetch`: there are copies to be fetched; `fetch_now` tries to get that of one user."""

    database: Database
    state_keys: StateKeys
    requests: KeyRequests
    fetch: Callable[[], None]
    fetch_now: Callable[[str, int], Awaitable[None]]

    async def query(self, wanted: Wanted, timeout: float) -> KeyAnswers:
        """The keys of users of other servers."""
        async with self.database.read() as conn:
            known = await self.state_keys.find(conn, [user_key(user_id) for user_id in wanted])
            nids = {user_id: known.get(user_key(user_id), -n) for n, user_id in enumerate(wanted, start=1)}
            good = await remote_devices.good(conn, nids.values())
        now = asyncio.get_running_loop().time()
        if len(good) < len(nids):
            others = {user_id: nid for user_id, nid in nids.items() if nid not in good}
            good |= await self._copied_now(others, now + timeout / 2)
        found = KeyAnswers()
        copied = [user_id for user_id in wanted if nids[user_id] in good]
        found.add(await self._copies(copied, nids, wanted))
        by_server = _by_server({user: ids for user, ids in wanted.items() if user not in copied})
        asked = await asyncio.gather(
            *[self._ask(server, users, nids, now + timeout) for server, users in by_server.items()]
        )
        for answers in asked:
            found.add(answers)
        silent = [
            user_id for user_id in wanted if domain_of(user_id) in found.failures and user_id not in copied
        ]
        if silent:
            found.add(await self._copies(silent, nids, wanted))
        if by_server:
            await self._follow([nids[user_id] for users in by_server.values() for user_id in users])
        return found

    async def claim(self, wanted: Claims, timeout: float) -> ClaimAnswers:
        """One-time keys of devices of other servers."""
        found = ClaimAnswers()
        by_server = _by_server(wanted)
        asked = await asyncio.gather(
            *[self._claim(server, claims, timeout) for server, claims in by_server.items()]
        )
        for answers in asked:
            found.keys |= answers.keys
            found.failures |= answers.failures
        return found

    async def _copies(self, users: Sequence[str], nids: Mapping[str, int], wanted: Wanted) -> KeyAnswers:
        """What copies say of users; nothing of those that have none."""
        if not users:
            return KeyAnswers()
        async with self.database.read() as conn:
            lists = await remote_devices.lists(conn, [nids[user_id] for user_id in users])
            devices = await remote_devices.devices(conn, lists)
            crossed = await e2e_keys.cross_signing_keys(conn, lists)
        names = {nids[user_id]: user_id for user_id in users if nids[user_id] in lists}
        found = KeyAnswers(device_keys=dict.fromkeys(names.values(), "{}"))
        add_trusted(found, names, wanted, TrustedKeys(tuple(devices), tuple(crossed)))
        return found

    async def _copied_now(self, nids: Mapping[str, int], deadline: float) -> set[int]:
        """Fetch copies of those in sight, where they are few; gives of whom there is a good one now."""
        async with self.database.read() as conn:
            seen = await remote_devices.in_sight(conn, nids.values())
        by_server = _by_server({user_id: nid for user_id, nid in nids.items() if nid in seen})
        few = [user for users in by_server.values() if len(users) <= FEW for user in users.items()]
        if not few:
            return set()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await asyncio.gather(*[self.fetch_now(user_id, nid) for user_id, nid in few])
        async with self.database.read() as conn:
            return await remote_devices.good(conn, [nid for _, nid in few])

    async def _ask(self, server: str, wanted: Wanted, nids: Mapping[str, int], deadline: float) -> KeyAnswers:
        try:
            async with asyncio.timeout_at(deadline):
                answer = await self.requests.keys_query(
                    server, {user_id: list(ids) for user_id, ids in wanted.items()}
                )
        except (PeerFault, TimeoutError) as fault:
            return KeyAnswers(failures={server: failure(fault)})
        told = [_told(user_id, nids[user_id], answer) for user_id in wanted]
        answered = [one.user_id for one in told if one.user_id in answer.device_keys]
        found = KeyAnswers(device_keys=dict.fromkeys(answered, "{}"))
        names = {one.user_nid: one.user_id for one in told}
        for trusted in await asyncio.to_thread(_trusted, told):
            add_trusted(found, names, wanted, trusted)
        return found

    async def _claim(self, server: str, wanted: Claims, timeout: float) -> ClaimAnswers:
        try:
            async with asyncio.timeout(timeout):
                answer = await self.requests.keys_claim(server, wanted)
        except (PeerFault, TimeoutError) as fault:
            return ClaimAnswers(failures={server: failure(fault)})
        found = ClaimAnswers()
        for user_id, devices in wanted.items():
            for device_id, algorithm in devices.items():
                text = claimed_key(answer.get(user_id, {}).get(device_id), algorithm)
                if text is not None:
                    found.keys.setdefault(user_id, {})[device_id] = text
        return found

    async def _follow(self, nids: Sequence[int]) -> None:
        """Users in sight of ours are worth a copy."""
        async with self.database.read() as conn:
            seen = await remote_devices.in_sight(conn, nids)
        if seen:
            async with self.database.writer() as conn:
                await remote_devices.want(conn, sorted(seen))
            self.fetch()


def failure(fault: Exception) -> Failure:
    """Why a server gave nothing, as clients are told."""
    if isinstance(fault, PeerRefused):
        return {
            "status": fault.status,
            "errcode": fault.errcode or "M_UNKNOWN",
            "error": "The server refused",
        }
    return {"status": 503, "errcode": "M_UNKNOWN", "error": "The server does not answer"}


def _by_server(wanted: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for user_id, what in wanted.items():
        found.setdefault(domain_of(user_id), {})[user_id] = what
    return found


def _told(user_id: str, nid: int, answer: QueriedKeys) -> Told:
    devices = answer.device_keys.get(user_id, {})
    master, self_signing = answer.master_keys.get(user_id), answer.self_signing_keys.get(user_id)
    return Told(user_id, nid, devices, display_names(devices), master, self_signing)


def _trusted(told: Iterable[Told]) -> list[TrustedKeys]:
    return [trusted_keys(one) for one in told]
