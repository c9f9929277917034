"""Mails about what stays unread: one for all of it, none for what was read, ended by a link."""

import re
from collections.abc import AsyncIterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from homeserver.app import config as options
from homeserver.app.config_people import Email
from homeserver.services.now import now_ms
from storage import addresses
from storage.addresses import Address
from tests.client_api.test_push_counts import read
from tests.kit.mailbox import Mailbox, running_mailbox
from tests.kit.server import Client, RunningServer, plain_config, running
from tests.kit.sync_calls import pair, say

BOB = "bob@example.org"


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    async with running_mailbox() as mailbox:
        yield mailbox


@pytest.fixture
async def server(pg_url: str, tmp_path: Path, mailbox: Mailbox) -> AsyncIterator[RunningServer]:
    async with running(pg_url, config(tmp_path, mailbox)) as server:
        yield server


def config(folder: Path, mailbox: Mailbox, delay: float = 0.5) -> options.Config:
    email = Email(smtp_host="127.0.0.1", smtp_port=mailbox.port, encryption="none")
    return plain_config(folder, email=email, push=options.Push(mail_delay=delay))


def pusher(address: str = BOB, **more: Any) -> dict[str, Any]:
    return {
        "kind": "email",
        "app_id": "m.email",
        "pushkey": address,
        "app_display_name": "Email Notifications",
        "device_display_name": address,
        "lang": "en",
        "data": {"brand": "App"},
        "append": True,
        **more,
    }


async def has_address(server: RunningServer, client: Client, address: str = BOB) -> None:
    """As if it had been confirmed."""
    async with server.database.transaction() as conn:
        nid = await conn.fetchval("SELECT user_nid FROM accounts WHERE user_id = $1", client.user_id)
        assert await addresses.add_address(conn, nid, Address("email", address, now_ms(), now_ms()))


async def set_up(server: RunningServer, client: Client) -> None:
    await has_address(server, client)
    await client.post("/v3/pushers/set", pusher())


async def mailed(mailbox: Mailbox) -> tuple[str, dict[str, str], Message]:
    """Subject, and the parts of the next mail by their types."""
    mail = await mailbox.next()
    assert mail.to == BOB
    parts = {
        part.get_content_type(): part.get_payload(decode=True).decode()
        for part in mail.message.walk()
        if not part.is_multipart()
    }
    return mail.message["Subject"], parts, mail.message


async def test_one_mail_tells_all_that_is_unread(server: RunningServer, mailbox: Mailbox) -> None:
    alice, bob, room_id = await pair(server)
    await set_up(server, bob)
    await alice.put(f"/v3/rooms/{room_id}/state/m.room.name", {"name": "Tea <b>"})
    await say(alice, room_id, "hello")
    await say(alice, room_id, "are you there? <script>")
    subject, parts, _ = await mailed(mailbox)
    assert subject == "2 unread messages on localhost"
    plain, html = parts["text/plain"], parts["text/html"]
    for words in ("Tea <b>", "hello", "are you there? <script>", "https://matrix.to/#/"):
        assert words in plain
    assert "Tea &lt;b&gt;" in html
    assert "&lt;script&gt;" in html
    assert "<script" not in html
    await say(alice, room_id, "third")
    subject, parts, _ = await mailed(mailbox)
    assert subject == "1 unread message on localhost"  # what was told is not told again
    assert "hello" not in parts["text/plain"]


async def test_what_was_read_in_time_is_in_no_mail(server: RunningServer, mailbox: Mailbox) -> None:
    alice, bob, room_id = await pair(server)
    await set_up(server, bob)
    await read(bob, room_id, await say(alice, room_id, "read at once"))
    await say(alice, room_id, "unread")
    subject, parts, _ = await mailed(mailbox)
    assert subject.startswith("1 ")
    assert "read at once" not in parts["text/plain"]


async def test_an_encrypted_message_is_mentioned(server: RunningServer, mailbox: Mailbox) -> None:
    alice, bob, room_id = await pair(server)
    await set_up(server, bob)
    await alice.put(
        f"/v3/rooms/{room_id}/send/m.room.encrypted/1", {"algorithm": "x", "ciphertext": "secret"}
    )
    _, parts, _ = await mailed(mailbox)
    assert "an encrypted message" in parts["text/plain"]
    assert "secret" not in str(parts)


@pytest.mark.parametrize("one_click", [False, True])
async def test_the_link_ends_it(server: RunningServer, mailbox: Mailbox, one_click: bool) -> None:
    alice, bob, room_id = await pair(server)
    await set_up(server, bob)
    await say(alice, room_id, "hello")
    _, parts, message = await mailed(mailbox)
    link = re.findall(r"http\S+unsubscribe\S+", parts["text/plain"])[0]
    assert message["List-Unsubscribe"] == f"<{link}>"
    path = link[link.index("/_matrix") :]
    anybody = server.anonymous()
    guessed = await anybody.ask("POST", re.sub("token=.*", "token=guessed", path))
    assert (guessed.status, len((await bob.get("/v3/pushers"))["pushers"])) == (404, 1)
    page = await anybody.ask("GET", path)
    assert (page.status, b"<button>" in page.content) == (200, True)
    assert len((await bob.get("/v3/pushers"))["pushers"]) == 1  # programs that look at mails open links
    if one_click:
        assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        answer = await anybody.ask("POST", path, b"List-Unsubscribe=One-Click")
    else:
        query = dict(item.split("=") for item in path.partition("?")[2].split("&"))
        answer = await anybody.ask("POST", path.partition("?")[0], query)
    assert answer.status == 200
    assert (await bob.get("/v3/pushers"))["pushers"] == []


async def test_mails_go_to_ones_own_addresses(server: RunningServer, mailbox: Mailbox) -> None:
    alice, bob, room_id = await pair(server)
    refusal = (400, "M_THREEPID_NOT_FOUND")
    assert await bob.refused("POST", "/v3/pushers/set", pusher()) == refusal
    await has_address(server, bob)
    assert await alice.refused("POST", "/v3/pushers/set", pusher()) == refusal
    await bob.post("/v3/pushers/set", pusher("BOB@example.org"))
    await bob.post("/v3/account/3pid/delete", {"medium": "email", "address": BOB})
    await say(alice, room_id, "hello")
    async with server.database.read() as conn:
        while await conn.fetchval("SELECT count(*) FROM pushers"):
            await conn.fetchval("SELECT pg_sleep(0.01)")


async def test_a_restart_loses_nothing(pg_url: str, tmp_path: Path, mailbox: Mailbox) -> None:
    async with running(pg_url, config(tmp_path, mailbox, delay=3600)) as server:
        alice, bob, room_id = await pair(server)
        await set_up(server, bob)
        await say(alice, room_id, "hello")
    async with running(pg_url, config(tmp_path, mailbox)):
        subject, _, _ = await mailed(mailbox)
        assert subject.startswith("1 ")
    async with running(pg_url, plain_config(tmp_path)) as server:  # without a mail server for a while
        await say(back(server, alice), room_id, "hello?")
    async with running(pg_url, config(tmp_path, mailbox)) as server:
        await say(back(server, alice), room_id, "are you there?")
        _, parts, _ = await mailed(mailbox)
        assert "are you there?" in parts["text/plain"]


def back(server: RunningServer, client: Client) -> Client:
    """The client after its server has been started again."""
    return Client(server.url, server.http, client.user_id, client.device_id, client.token)


async def test_without_a_mail_server_there_are_no_mails(pg_url: str, tmp_path: Path) -> None:
    async with running(pg_url, plain_config(tmp_path)) as server:
        alice = await server.register("alice")
        await has_address(server, alice)
        assert await alice.refused("POST", "/v3/pushers/set", pusher()) == (400, "M_INVALID_PARAM")
