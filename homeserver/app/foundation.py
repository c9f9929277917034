"""The parts that every other part stands on: the reader and the writer of rooms, and who is woken by them."""

from typing import Final

from attrs import frozen

from homeserver.core.event_build import Signer
from homeserver.core.expiry import is_over
from homeserver.core.push.rules import Predefined, predefined
from homeserver.services.after_commit import AfterCommit, Listener
from homeserver.services.audiences import Audiences
from homeserver.services.identity import Identity
from homeserver.services.notification_counts import NotificationCounts
from homeserver.services.notifier import Notifier
from homeserver.services.now import now_ms
from homeserver.services.push_evaluation import PushEvaluation
from homeserver.services.push_rule_book import PushRuleBook
from homeserver.services.room_heads import RoomHeads
from homeserver.services.room_servers import RoomServers
from homeserver.services.tails import Tails
from homeserver.services.timeline import Timeline, Writing
from storage.committer import Committer
from storage.database import Database
from storage.events import EventReader
from storage.memberships import joined_rooms
from storage.rooms import Numbers, RoomRegistry
from storage.state_keys import StateKeys
from storage.streams import current_position

HEADS_PER_MIB = 16
TAIL_EVENT_KIB = 2  # what an event in a tail takes, with its parsed content


@frozen
class Wanted:
    """What servers do only if their operators want it.

    `expiring`: messages that name their end are heeded. `mentions_in_text`: mentions are found there, too.
    `unread_counts`: messages are counted that rules mark as unread, whether they notify or not.
    """

    expiring: bool = False
    mentions_in_text: bool = False
    unread_counts: bool = False


PLAIN: Final = Wanted()


@frozen
class Foundation:
    """What `assemble` hands on, part by part; nobody else receives the whole."""

    database: Database
    identity: Identity
    reader: EventReader
    state_keys: StateKeys
    committer: Committer
    notifier: Notifier
    tails: Tails
    timeline: Timeline
    followers: list[Listener]  # who joins this list hears of every commit
    room_servers: RoomServers
    counts: NotificationCounts
    predefined: Predefined


def push_evaluation(
    heads: RoomHeads,
    state_keys: StateKeys,
    identity: Identity,
    followers: list[Listener],
    *,
    rules: Predefined,
    marked: bool = False,
) -> PushEvaluation:
    """What says whom events notify; it hears of commits, for the rules that they change."""
    book = PushRuleBook(heads.database, rules)
    followers.append(book)
    return PushEvaluation(heads, Audiences(heads.database, book), state_keys, identity, marked)


async def lay_foundation(
    database: Database, signer: Signer, *, cache_mib: int, wanted: Wanted = PLAIN
) -> Foundation:
    """Build the parts and take up the clock where the database stands.

    Half of the memory for caches holds parsed events, a quarter each the recent ends of timelines and the rooms' heads.
    """
    reader = EventReader(
        RoomRegistry(),
        max_bytes=cache_mib * 1024 * 512,
        is_over=(lambda event: is_over(event, now_ms())) if wanted.expiring else None,
    )
    state_keys = StateKeys(database)

    async def load_rooms(user_nid: int) -> list[int]:
        async with database.read() as conn:
            return await joined_rooms(conn, user_nid)

    async with database.read() as conn:
        position = await current_position(conn)
    notifier, tails = Notifier(load_rooms, position), Tails(cache_mib * 1024 // 4 // TAIL_EVENT_KIB)
    counts = NotificationCounts(notifier, tails, state_keys, wanted.unread_counts)
    followers: list[Listener] = [counts]
    committer = Committer(database, AfterCommit(notifier, tails, followers))
    writing = Writing(database, reader, committer, Numbers(database), state_keys)
    identity = Identity(signer)
    heads = RoomHeads(database, reader, max_heads=cache_mib * HEADS_PER_MIB)
    rules = predefined(mentions_in_text=wanted.mentions_in_text)
    push = push_evaluation(heads, state_keys, identity, followers, rules=rules, marked=wanted.unread_counts)
    timeline = Timeline(writing, heads, identity, push=push)
    return Foundation(
        database,
        identity,
        reader,
        state_keys,
        committer,
        notifier,
        tails,
        timeline,
        followers,
        RoomServers(),
        counts,
        rules,
    )
