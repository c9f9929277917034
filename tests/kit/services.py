"""The services that write and read rooms, on a real database, without HTTP."""

from attrs import frozen
from signedjson.key import generate_signing_key

from homeserver.app.foundation import push_evaluation
from homeserver.core.event_build import Draft, Signer
from homeserver.core.push.rules import Predefined, predefined
from homeserver.core.room_versions import RoomVersion
from homeserver.services.after_commit import AfterCommit, Listener
from homeserver.services.identity import Identity
from homeserver.services.notification_counts import NotificationCounts
from homeserver.services.notifier import Notifier
from homeserver.services.room_heads import RoomHeads
from homeserver.services.tails import Tails
from homeserver.services.timeline import Timeline, Writing
from storage.committer import Committer
from storage.database import Database
from storage.events import EventReader
from storage.memberships import joined_rooms
from storage.rooms import Numbers, RoomRegistry
from storage.state_keys import StateKeys

SERVER = "example.org"
ALICE = "@alice:example.org"
BOB = "@bob:example.org"


@frozen
class Kit:
    """The pieces that tests reach for."""

    database: Database
    reader: EventReader
    committer: Committer
    notifier: Notifier
    tails: Tails
    timeline: Timeline
    state_keys: StateKeys
    followers: list[Listener]
    counts: NotificationCounts
    predefined: Predefined


def build_kit(database: Database, *, unread_counts: bool = False) -> Kit:
    """One process's services; several on one database are as many processes."""
    rules = predefined()
    rooms = RoomRegistry()
    reader = EventReader(rooms)

    async def load_rooms(user_nid: int) -> list[int]:
        async with database.read() as conn:
            return await joined_rooms(conn, user_nid)

    notifier, tails = Notifier(load_rooms), Tails()
    state_keys = StateKeys(database)
    counts = NotificationCounts(notifier, tails, state_keys, unread_counts)
    followers: list[Listener] = [counts]
    committer = Committer(database, AfterCommit(notifier, tails, followers))
    writing = Writing(database, reader, committer, Numbers(database), state_keys)
    identity = Identity(Signer(SERVER, generate_signing_key("test")))
    heads = RoomHeads(database, reader)
    push = push_evaluation(heads, state_keys, identity, followers, rules=rules, marked=unread_counts)
    timeline = Timeline(writing, heads, identity, push=push)
    return Kit(database, reader, committer, notifier, tails, timeline, state_keys, followers, counts, rules)


def founding(
    version: RoomVersion, *, creator: str = ALICE, room_id: str = "!room:example.org"
) -> list[Draft]:
    """The first events of a public room that `creator` makes."""
    create = {"room_version": version.name}
    if version.create_names_creator:
        create["creator"] = creator
    users = {} if version.privileged_creators else {creator: 100}
    contents = (
        ("m.room.create", "", create),
        ("m.room.member", creator, {"membership": "join"}),
        ("m.room.power_levels", "", {"users": users}),
        ("m.room.join_rules", "", {"join_rule": "public"}),
        ("m.room.history_visibility", "", {"history_visibility": "shared"}),
    )
    at = None if version.room_id_is_create_hash else room_id
    return [Draft(kind, creator, content, 1_700_000_000_000, at, key) for kind, key, content in contents]
