"""Copies of other servers' users' devices are fetched: new ones, and those that missed an update.

Which ones is in the database, so nothing is forgotten over a restart. A few are on their way at a time, two of a server
at most, beside those that somebody waits for; a server that is down is left alone until it may be asked again.
[ss "GET /user/devices/{userId}"]
"""

import asyncio

import structlog
from attrs import define, field, frozen

from federation.backoff import Destinations
from federation.client.keys import KeyRequests, UserDevices
from federation.device_lists import replace_keys
from federation.transport.requests import PeerFault
from homeserver.core.ids import domain_of
from homeserver.services.checked_keys import Told, TrustedKeys, trusted_keys
from homeserver.services.device_lists import DeviceLists
from storage import remote_devices
from storage.committer import Touched
from storage.database import Connection
from storage.devices import record_device_list_change
from storage.remote_devices import NOT_YET
from storage.state_keys import StateKeys
from storage.streams import current_position

log = structlog.get_logger(__name__)

AT_ONCE = 10
OF_A_SERVER = 2
PAGE = 500
LOOK_AGAIN = 60.0  # seconds: servers come back
PAUSE = 600.0  # seconds for a user whose server answers, but not what it should
MAX_PAUSED = 10_000
MAX_RUNNING = 200  # with those that somebody waits for


@frozen
class Fetching:
    """What it takes to fetch."""

    requests: KeyRequests
    destinations: Destinations
    device_lists: DeviceLists
    state_keys: StateKeys


@define(eq=False)
class DeviceResync:
    """Runs beside the server."""

    fetching: Fetching
    _wake: asyncio.Event = field(factory=asyncio.Event)
    _paused: dict[int, float] = field(factory=dict)  # user -> until when
    _missed: set[int] = field(factory=set)  # of whom it was told that their devices cannot be had
    _untold: set[int] = field(factory=set)  # whose copy was overtaken by an update: the next one is told of
    _running: dict[int, "asyncio.Task[None]"] = field(factory=dict)
    _servers: dict[str, int] = field(factory=dict)

    async def now(self, user_id: str, nid: int) -> None:
        """Somebody waits for this one. Gives up at once where the server should be left alone."""
        task = self._running.get(nid)
        if task is None:
            paused = self._paused.get(nid, 0.0) > asyncio.get_running_loop().time()
            if paused or len(self._running) >= MAX_RUNNING:
                return
            if not self.fetching.destinations.may_ask(domain_of(user_id)):
                return
            task = self._start(user_id, nid, awaited=True)
        await asyncio.shield(task)

    def wake(self) -> None:
        """There may be something to fetch."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                self._wake.clear()
                await self._begin()
                try:
                    async with asyncio.timeout(LOOK_AGAIN):
                        await self._wake.wait()
                except TimeoutError:
                    pass
        finally:
            for task in list(self._running.values()):
                task.cancel()

    async def _begin(self) -> None:
        """Start as many as may run."""
        room = AT_ONCE - len(self._running)
        if room <= 0:
            return
        wanted = await self._wanted()
        for user_id, nid in wanted.items():
            server = domain_of(user_id)
            if room <= 0:
                return
            if not self.fetching.destinations.may_ask(server):
                self._pause(nid, LOOK_AGAIN)
                continue
            if self._servers.get(server, 0) >= OF_A_SERVER:
                continue
            if nid in self._running:
                continue
            room -= 1
            self._start(user_id, nid, awaited=False)
        if len(wanted) == PAGE and len(self._running) < AT_ONCE:
            self._wake.set()  # those of servers that are down are passed over now

    def _start(self, user_id: str, nid: int, *, awaited: bool) -> "asyncio.Task[None]":
        server = domain_of(user_id)
        self._servers[server] = self._servers.get(server, 0) + 1
        task = asyncio.create_task(self._guarded(user_id, nid, awaited), name="device resync")
        self._running[nid] = task
        return task

    async def _wanted(self) -> dict[str, int]:
        now = asyncio.get_running_loop().time()
        self._paused = {nid: until for nid, until in self._paused.items() if until > now}
        beside = {*self._paused, *self._running}
        async with self.fetching.device_lists.database.read() as conn:
            nids = await remote_devices.wanted(conn, PAGE, beside)
            seen = await remote_devices.in_sight(conn, nids) if nids else set()
            names = await self.fetching.state_keys.user_ids(conn, seen)
        gone = [nid for nid in nids if nid not in seen]
        self._untold.difference_update(gone)
        if gone:
            async with self.fetching.device_lists.database.transaction() as conn:
                await remote_devices.forget(conn, gone)
        return {names[nid]: nid for nid in nids if nid in names}

    async def _guarded(self, user_id: str, nid: int, awaited: bool) -> None:
        server = domain_of(user_id)
        try:
            await self._fetch(user_id, nid, awaited)
        except PeerFault as fault:
            log.info("cannot fetch devices", user_id=user_id, reason=fault.reason)
            await self._tell_all_the_same(nid)
            self._pause(nid, PAUSE if self.fetching.destinations.may_ask(server) else LOOK_AGAIN)
        except Exception:
            log.exception("cannot fetch devices", user_id=user_id)
            self._pause(nid, PAUSE)
        finally:
            self._running.pop(nid, None)
            self._servers[server] -= 1
            if not self._servers[server]:
                del self._servers[server]
            self._wake.set()

    async def _tell_all_the_same(self, nid: int) -> None:
        """An update came for which there was no copy, and cannot be one now: clients shall know that they lack it."""
        lists = self.fetching.device_lists
        async with lists.database.read() as conn:
            before = (await remote_devices.lists(conn, [nid])).get(nid)
            touched = await lists.concerned(conn, [nid])
        if before is None or not before.position or nid in self._missed:
            return
        if before.stream_id != NOT_YET and nid not in self._untold:
            return
        self._untold.discard(nid)
        if len(self._missed) >= MAX_PAUSED:
            self._missed.clear()
        self._missed.add(nid)
        await lists.committer.run(lambda conn, now: record_device_list_change(conn, now, [nid]), touched)

    def _pause(self, nid: int, seconds: float) -> None:
        if len(self._paused) < MAX_PAUSED:
            self._paused[nid] = asyncio.get_running_loop().time() + seconds

    async def _fetch(self, user_id: str, nid: int, awaited: bool) -> None:
        lists = self.fetching.device_lists
        async with lists.database.read() as conn:
            position = await current_position(conn)
        answer = await self.fetching.requests.user_devices(domain_of(user_id), user_id)
        trusted = await asyncio.to_thread(trusted_keys, _told(user_id, nid, answer))
        async with lists.database.read() as conn:
            before = (await remote_devices.lists(conn, [nid])).get(nid)
            touched = await lists.concerned(conn, [nid])
        # What clients learned before may have been older. Only where nobody waits for it, and nothing has happened,
        # is it what the server has just told them.
        tell = awaited or (before is not None and (before.stream_id, before.position) != (NOT_YET, 0))

        async def job(conn: Connection, now: int) -> bool:
            overtaken = await keep_copy(conn, nid, (answer.stream_id, position), trusted)
            if tell and not overtaken:
                await record_device_list_change(conn, now, [nid])
            return overtaken

        if await lists.committer.run(job, touched if tell else Touched()):
            self._untold.add(nid)
        else:
            self._untold.discard(nid)


async def keep_copy(conn: Connection, user_nid: int, as_of: tuple[int, int], trusted: TrustedKeys) -> bool:
    """Replace a user's copy. Has an update overtaken it, so that it has to be fetched once more?"""
    overtaken = await remote_devices.replace(conn, user_nid, as_of, trusted.devices)
    await replace_keys(conn, user_nid, list(trusted.cross_signing))
    return overtaken


def _told(user_id: str, nid: int, answer: UserDevices) -> Told:
    named = [(device.get("device_id"), device) for device in answer.devices]
    devices = {name: device for name, device in named if isinstance(name, str)}
    return Told(
        user_id,
        nid,
        {name: device.get("keys") for name, device in devices.items()},
        {name: device.get("device_display_name") for name, device in devices.items()},
        answer.master_key,
        answer.self_signing_key,
    )
