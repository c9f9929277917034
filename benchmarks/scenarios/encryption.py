"""Keys and messages of the devices in a large encrypted room: looked up, claimed, sent to, and seen to change."""

from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import quote

import orjson
from attrs import frozen

from benchmarks.figures import Better, Figure
from benchmarks.load import times
from benchmarks.matrix import Client, log_in, register_clients, room_of
from benchmarks.scenarios.marks import next_batch
from benchmarks.scenarios.scenario import Round, Scale, Scenario
from benchmarks.servers import Site
from tests.kit.crypto import DeviceCrypto

DEVICES = 3
REPEATS = 24  # CPU is counted in hundredths of a second, so few of them tell little
ASKERS = 120  # devices that each sync once: that is over in less than a millisecond
ALGORITHM = "signed_curve25519"
CIPHERTEXT = "x" * 900  # about what a room key takes


@frozen
class Crowd:
    """Somebody who asks, on several devices, and the members of the room; some of them have three devices."""

    askers: Sequence[Client]
    members: Sequence[Client]
    devices: Sequence[tuple[Client, DeviceCrypto]]

    def of_users(self) -> dict[str, list[str]]:
        """The users with three devices, and these."""
        found: dict[str, list[str]] = {}
        for client, crypto in self.devices:
            found.setdefault(client.account.user_id, []).append(crypto.device_id)
        return found


async def keys(site: Site, scale: Scale) -> Round:
    """All four things that a client does about keys in a large room."""
    crowd = await _crowd(site, scale)

    async def run() -> list[Figure]:
        figures = await _measured(site, "query of their keys", REPEATS, _query(crowd))
        await _upload(crowd)
        figures += await _measured(site, "claim of a key of each device", REPEATS, _claim(crowd))
        figures += await _measured(site, "message to each device", REPEATS, _send(crowd))
        changes = await _changes(crowd)
        return figures + await _measured(site, "sync that tells whose devices changed", ASKERS, changes)

    return run


async def _measured(site: Site, what: str, count: int, step: Callable[[], Awaitable[object]]) -> list[Figure]:
    await site.gauge.quiet()
    cost = await site.gauge.cost(lambda: times(count, [step]))
    return [
        Figure(f"ms a {what}", 1000 * cost.seconds / cost.operations, Better.LESS),
        Figure(f"CPU ms a {what}, server and database", cost.cpu_ms(), Better.LESS),
    ]


def _query(crowd: Crowd) -> Callable[[], Awaitable[object]]:
    body: dict[str, object] = {"device_keys": {user_id: [] for user_id in crowd.of_users()}}
    return lambda: crowd.askers[0].call("POST", "/keys/query", body)


def _claim(crowd: Crowd) -> Callable[[], Awaitable[object]]:
    wanted = {user_id: dict.fromkeys(ids, ALGORITHM) for user_id, ids in crowd.of_users().items()}
    return lambda: crowd.askers[0].call("POST", "/keys/claim", {"one_time_keys": wanted})


def _send(crowd: Crowd) -> Callable[[], Awaitable[object]]:
    asker = crowd.askers[0]
    content = {
        "algorithm": "m.olm.v1.curve25519-aes-sha2",
        "ciphertext": {"key": {"body": CIPHERTEXT, "type": 0}},
    }
    messages = {user_id: dict.fromkeys(ids, content) for user_id, ids in crowd.of_users().items()}

    async def send() -> None:
        path = f"/sendToDevice/m.room.encrypted/{next(asker.transactions)}"
        await asker.call("PUT", path, {"messages": messages})

    return send


async def _changes(crowd: Crowd) -> Callable[[], Awaitable[object]]:
    """Every member renames a device; each sync is another device's, as equal ones would be answered together."""
    tokens = [next_batch(await asker.sync("timeout=0")) for asker in crowd.askers]
    for member in crowd.members:
        device_id = orjson.loads(await member.call("GET", "/account/whoami"))["device_id"]
        name = {"display_name": f"Renamed {next(member.transactions)}"}
        await member.call("PUT", f"/devices/{quote(device_id)}", name)
    waiting = iter(list(zip(crowd.askers, tokens, strict=True)))

    async def sync() -> None:
        asker, since = next(waiting)
        await asker.sync(f"since={since}&timeout=0")

    return sync


async def _crowd(site: Site, scale: Scale) -> Crowd:
    asker, *members = await register_clients(site.address, scale.keyed + 1)
    await room_of([asker, *members])
    askers = [await log_in(site.address, asker) for _ in range(ASKERS)]
    devices = []
    for member in members[: scale.keyed * 2 // 5]:
        for number in range(DEVICES):
            client = member if number == 0 else await log_in(site.address, member)
            said = orjson.loads(await client.call("GET", "/account/whoami"))
            crypto = DeviceCrypto(said["user_id"], said["device_id"])
            await client.call("POST", "/keys/upload", {"device_keys": crypto.device_keys()})
            devices.append((client, crypto))
    return Crowd(askers, members, devices)


async def _upload(crowd: Crowd) -> None:
    for client, crypto in crowd.devices:
        await client.call("POST", "/keys/upload", {"one_time_keys": crypto.one_time_keys(REPEATS)})


SCENARIOS = [
    Scenario(
        "keys",
        "Keys in an encrypted room: {scale.keyed} members change a device, two in five of them have 3 devices each",
        keys,
    ),
]
