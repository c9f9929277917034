"""Users of matrix-nio, the library under many bots. Nothing is encrypted."""

import itertools
from contextlib import asynccontextmanager

import nio
import pytest

pytestmark = pytest.mark.interop

PASSWORD = "a password for everybody"
LIMITED = 10_000  # ms that a sync waits at most
_names = itertools.count(1)


def good(answer, kind):
    """The answer, which must be of this kind: nio reports errors as values."""
    assert isinstance(answer, kind), answer
    return answer


@asynccontextmanager
async def registered(server, name):
    client = nio.AsyncClient(server.url, f"{name}-nio{next(_names)}")
    try:
        good(await client.register(client.user, PASSWORD, "phone"), nio.RegisterResponse)
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def logged_in(client):
    """A second device of the same user."""
    other = nio.AsyncClient(client.homeserver, client.user_id)
    try:
        good(await other.login(PASSWORD, "tablet"), nio.LoginResponse)
        yield other
    finally:
        await other.close()


async def synced(client, arrived=lambda: True):
    """Sync until something has arrived."""
    while True:
        answer = good(await client.sync(LIMITED, full_state=False), nio.SyncResponse)
        if arrived():
            return answer


async def heard(client, room_id, wanted, kind=nio.RoomMessageText):
    """Sync until an event of the room fits; gives the event."""
    while True:
        answer = good(await client.sync(LIMITED), nio.SyncResponse)
        room = answer.rooms.join.get(room_id)
        events = [*room.timeline.events, *room.ephemeral, *room.account_data] if room else []
        for event in events:
            if isinstance(event, kind) and wanted(event):
                return event


async def send(client, room_id, body, **options):
    content = {"msgtype": "m.text", "body": body}
    answer = await client.room_send(room_id, "m.room.message", content, **options)
    return good(answer, nio.RoomSendResponse).event_id


@asynccontextmanager
async def conversation(server):
    """Two users in a room, both with a sync behind them."""
    async with registered(server, "alice") as alice, registered(server, "bob") as bob:
        await synced(alice)
        await synced(bob)
        made = good(
            await alice.room_create(name="Tea", topic="Biscuits", invite=[bob.user_id]),
            nio.RoomCreateResponse,
        )
        await synced(bob, lambda: made.room_id in bob.invited_rooms)
        good(await bob.join(made.room_id), nio.JoinResponse)
        await synced(bob, lambda: made.room_id in bob.rooms)
        await synced(alice, lambda: alice.rooms[made.room_id].member_count == 2)
        yield alice, bob, made.room_id


async def test_two_users_meet_in_a_room(homing):
    async with conversation(homing) as (alice, bob, room_id):
        room = bob.rooms[room_id]
        assert (room.name, room.topic, sorted(room.users)) == (
            "Tea",
            "Biscuits",
            sorted([alice.user_id, bob.user_id]),
        )
        members = good(await alice.joined_members(room_id), nio.JoinedMembersResponse)
        assert {member.user_id for member in members.members} == {alice.user_id, bob.user_id}
        rooms = good(await bob.joined_rooms(), nio.JoinedRoomsResponse)
        assert rooms.rooms == [room_id]
        assert good(await bob.whoami(), nio.WhoamiResponse).user_id == bob.user_id


async def test_messages_receipts_and_redactions(homing):
    async with conversation(homing) as (alice, bob, room_id):
        event_id = await send(alice, room_id, "Hello Bob", tx_id="once")
        assert await send(alice, room_id, "Hello Bob", tx_id="once") == event_id
        event = await heard(bob, room_id, lambda event: event.event_id == event_id)
        assert (event.body, event.sender) == ("Hello Bob", alice.user_id)

        good(await bob.room_typing(room_id, True, 10_000), nio.RoomTypingResponse)
        await heard(alice, room_id, lambda event: event.users == [bob.user_id], nio.TypingNoticeEvent)
        good(await bob.room_read_markers(room_id, event_id, event_id), nio.RoomReadMarkersResponse)
        told = await heard(alice, room_id, lambda event: event.receipts, nio.ReceiptEvent)
        assert [(receipt.user_id, receipt.event_id) for receipt in told.receipts] == [(bob.user_id, event_id)]
        marker = await heard(bob, room_id, lambda event: True, nio.FullyReadEvent)
        assert marker.event_id == event_id

        good(await alice.room_redact(room_id, event_id, "slip of the tongue"), nio.RoomRedactResponse)
        redaction = await heard(bob, room_id, lambda event: True, nio.RedactionEvent)
        assert (redaction.redacts, redaction.reason) == (event_id, "slip of the tongue")
        left = good(await bob.room_get_event(room_id, event_id), nio.RoomGetEventResponse).event
        assert isinstance(left, nio.RedactedEvent)


async def test_history_both_ways(homing):
    async with conversation(homing) as (alice, bob, room_id):
        start = bob.next_batch
        sent = [await send(alice, room_id, f"number {number}") for number in range(30)]
        forwards = await pages(bob, room_id, start, nio.MessageDirection.front)
        assert [event.event_id for event in forwards] == sent
        await synced(bob)
        backwards = await pages(bob, room_id, bob.next_batch, nio.MessageDirection.back)
        assert [event.event_id for event in backwards][:30] == sent[::-1]
        assert isinstance(backwards[-1], nio.RoomCreateEvent)
        context = good(await bob.room_context(room_id, sent[15], limit=4), nio.RoomContextResponse)
        assert [event.event_id for event in context.events_before] == [sent[14], sent[13]]
        assert [event.event_id for event in context.events_after] == [sent[16], sent[17]]


async def pages(client, room_id, start, direction):
    """All events from `start` to the end, page by page."""
    found = []
    while start is not None:
        answer = good(
            await client.room_messages(room_id, start, direction=direction, limit=7), nio.RoomMessagesResponse
        )
        found += answer.chunk
        start = answer.end
    return found


async def test_state_and_aliases(homing):
    async with conversation(homing) as (alice, bob, room_id):
        good(
            await alice.room_put_state(room_id, "m.room.topic", {"topic": "Scones"}), nio.RoomPutStateResponse
        )
        topic = good(await bob.room_get_state_event(room_id, "m.room.topic"), nio.RoomGetStateEventResponse)
        assert topic.content["topic"] == "Scones"
        state = good(await bob.room_get_state(room_id), nio.RoomGetStateResponse)
        assert {"m.room.create", "m.room.power_levels", "m.room.topic"} <= {
            event["type"] for event in state.events
        }
        refused = await bob.room_put_state(room_id, "m.room.topic", {"topic": "Mine"})
        assert good(refused, nio.RoomPutStateError).status_code == "M_FORBIDDEN"

        alias = f"#tea-{alice.user}:{alice.user_id.partition(':')[2]}"
        good(await alice.room_put_alias(alias, room_id), nio.RoomPutAliasResponse)
        found = good(await bob.room_resolve_alias(alias), nio.RoomResolveAliasResponse)
        assert found.room_id == room_id
        good(await alice.room_delete_alias(alias), nio.RoomDeleteAliasResponse)
        gone = good(await bob.room_resolve_alias(alias), nio.RoomResolveAliasError)
        assert gone.status_code == "M_NOT_FOUND"


async def test_profiles_and_devices(homing):
    async with registered(homing, "carol") as carol, logged_in(carol) as tablet:
        good(await carol.set_displayname("Carol"), nio.ProfileSetDisplayNameResponse)
        assert good(await tablet.get_displayname(), nio.ProfileGetDisplayNameResponse).displayname == "Carol"
        devices = good(await tablet.devices(), nio.DevicesResponse).devices
        assert {device.id for device in devices} == {carol.device_id, tablet.device_id}
        challenge = await carol.delete_devices([tablet.device_id])
        session = good(challenge, nio.DeleteDevicesAuthResponse).session
        identifier = {"type": "m.id.user", "user": carol.user_id}
        auth = {
            "type": "m.login.password",
            "identifier": identifier,
            "password": PASSWORD,
            "session": session,
        }
        good(await carol.delete_devices([tablet.device_id], auth), nio.DeleteDevicesResponse)
        assert good(await tablet.whoami(), nio.WhoamiError).status_code == "M_UNKNOWN_TOKEN"


async def test_kick_ban_and_power(homing):
    async with conversation(homing) as (alice, bob, room_id):
        good(await bob.room_kick(room_id, alice.user_id), nio.RoomKickError)
        good(await alice.room_kick(room_id, bob.user_id, "pause"), nio.RoomKickResponse)
        assert room_id in (await synced(bob)).rooms.leave
        good(await alice.room_ban(room_id, bob.user_id), nio.RoomBanResponse)
        good(await alice.room_invite(room_id, bob.user_id), nio.RoomInviteError)
        good(await alice.room_unban(room_id, bob.user_id), nio.RoomUnbanResponse)
        good(await alice.room_invite(room_id, bob.user_id), nio.RoomInviteResponse)
        good(await bob.join(room_id), nio.JoinResponse)


async def test_leave_forget_and_log_out(homing):
    async with conversation(homing) as (alice, bob, room_id):
        good(await bob.room_leave(room_id), nio.RoomLeaveResponse)
        assert room_id in (await synced(bob)).rooms.leave
        await synced(alice, lambda: alice.rooms[room_id].member_count == 1)
        good(await bob.room_forget(room_id), nio.RoomForgetResponse)
        good(await bob.room_messages(room_id, "", limit=5), nio.RoomMessagesError)
        token = bob.access_token
        good(await bob.logout(), nio.LogoutResponse)
        bob.access_token = token
        assert good(await bob.whoami(), nio.WhoamiError).status_code == "M_UNKNOWN_TOKEN"
