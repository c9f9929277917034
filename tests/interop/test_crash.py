"""Killed in the midst of work: what was acknowledged is there once, and a retry makes nothing twice."""

import asyncio
from collections import Counter

import aiohttp
import pytest
from attrs import define, field

from tests.interop.server_process import ServerProcess
from tests.kit.server import Client, segment

pytestmark = pytest.mark.interop

SENDERS = 10
KILLS = 3
ACKNOWLEDGED_BEFORE_A_KILL = 60
DELAYED = 80
DELAYED_APART = 25  # ms
GONE = (aiohttp.ClientError, OSError)


@define(eq=False)
class Sender:
    """A device that sends numbered messages, and asks again for whatever was not answered."""

    client: Client
    room_id: str
    answers: dict[str, str] = field(factory=dict)  # transaction id -> event id
    number: int = 0

    async def send_until_killed(self, acknowledged: asyncio.Semaphore) -> None:
        while True:
            transaction = f"{self.client.user_id}-{self.number}"
            try:
                self.answers[transaction] = await self.send(transaction)
            except GONE:
                return  # the same transaction again after the restart
            self.number += 1
            acknowledged.release()

    async def send(self, transaction: str) -> str:
        path = f"/v3/rooms/{segment(self.room_id)}/send/m.room.message/{segment(transaction)}"
        return (await self.client.put(path, {"msgtype": "m.text", "body": transaction}))["event_id"]


@define(eq=False)
class Reader:
    """A device that syncs, and notes each message that it is told of."""

    client: Client
    room_id: str
    told: list[str] = field(factory=list)
    token: str | None = None

    async def sync(self, timeout: int) -> bool:
        """Was there news of the room?"""
        answer = await self.client.get("/v3/sync", since=self.token, timeout=timeout, filter=BIG)
        room = answer.get("rooms", {}).get("join", {}).get(self.room_id)
        timeline = room["timeline"] if room else {"events": [], "limited": False}
        assert self.token is None or not timeline["limited"], "the filter leaves no gap"
        self.told += [event["event_id"] for event in timeline["events"] if event["type"] == "m.room.message"]
        self.token = answer["next_batch"]
        return room is not None

    async def sync_until_killed(self) -> None:
        try:
            while True:
                await self.sync(10_000)
        except GONE:
            return


BIG = '{"room": {"timeline": {"limit": 1000}}}'


async def register(client: Client, name: str) -> Client:
    body = {"username": name, "password": "long enough, or so", "auth": {"type": "m.login.dummy"}}
    answer = await client.post("/v3/register", body)
    return Client(client.url, client.http, answer["user_id"], answer["device_id"], answer["access_token"])


async def everything_said(client: Client, room_id: str) -> list[str]:
    """The ids of all messages, from the last to the first."""
    found, start = [], None
    while True:
        page = await client.get(
            f"/v3/rooms/{segment(room_id)}/messages", dir="b", limit=200, **{"from": start}
        )
        found += [event["event_id"] for event in page["chunk"] if event["type"] == "m.room.message"]
        start = page.get("end")
        if start is None:
            return found


@pytest.fixture
def mortal(tmp_path):
    """A server of this test's own."""
    server = ServerProcess(tmp_path)
    server.start()
    yield server
    server.stop()


async def test_killed_while_ten_send(mortal: ServerProcess) -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
        nobody = Client(mortal.url, http)
        users = [await register(nobody, f"user{number}") for number in range(SENDERS)]
        made = await users[0].post("/v3/createRoom", {"preset": "public_chat"})
        room_id = made["room_id"]
        for user in users[1:]:
            await user.post(f"/v3/join/{segment(room_id)}")
        senders = [Sender(user, room_id) for user in users]
        reader = Reader(users[0], room_id)
        await reader.sync(0)
        for _ in range(KILLS):
            await work_until_killed(mortal, senders, reader)
            await asyncio.to_thread(mortal.start)
            await check_retries(senders)
        while await reader.sync(0):
            pass
        await check_history(users[1], senders, reader)


async def work_until_killed(server: ServerProcess, senders: list[Sender], reader: Reader) -> None:
    acknowledged = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as work:
        work.create_task(reader.sync_until_killed())
        for sender in senders:
            work.create_task(sender.send_until_killed(acknowledged))
        for _ in range(ACKNOWLEDGED_BEFORE_A_KILL):
            await acknowledged.acquire()
        server.kill()


async def check_retries(senders: list[Sender]) -> None:
    """A transaction that was answered is answered the same; one that was not is done now, if it was not before."""
    for sender in senders:
        for transaction, event_id in sender.answers.items():
            assert await sender.send(transaction) == event_id
        transaction = f"{sender.client.user_id}-{sender.number}"
        event_id = sender.answers[transaction] = await sender.send(transaction)
        assert await sender.send(transaction) == event_id
        sender.number += 1


async def check_history(client: Client, senders: list[Sender], reader: Reader) -> None:
    acknowledged = [event_id for sender in senders for event_id in sender.answers.values()]
    history = await everything_said(client, reader.room_id)
    assert Counter(history) == Counter(acknowledged), "each message once, and nothing else"
    assert reader.told == history[::-1], "the syncs told all of it, once, in order"


async def test_killed_while_delayed_events_are_due(mortal: ServerProcess) -> None:
    """Each is sent once: before the kill, while the server was away, or after it came back [MSC4140]."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
        alice = await register(Client(mortal.url, http), "alice")
        room_id = (await alice.post("/v3/createRoom", {}))["room_id"]
        reader = Reader(alice, room_id)
        await reader.sync(0)
        path = f"/v3/rooms/{segment(room_id)}/delayed_event/m.room.message"
        for number in range(DELAYED):
            body = {"delay_ms": 1 + number * DELAYED_APART, "content": {"body": str(number)}}
            await alice.put(f"{path}/{number}", body)
        while len(reader.told) < DELAYED // 4:
            await reader.sync(10_000)
        mortal.kill()
        await asyncio.to_thread(mortal.start)
        while (await alice.get("/v1/delayed_events"))["delayed_events"]:
            await reader.sync(10_000)
        while await reader.sync(0):
            pass
        history = await everything_said(alice, room_id)
        assert len(history) == DELAYED
        assert Counter(reader.told) == Counter(history)
