"""What one room wants written in one step: rows, with the head they stand on. Values only, no SQL."""

from typing import Any

from attrs import field, frozen

from storage.rooms import Room

# events.status
ACCEPTED, REJECTED, SOFT_FAILED, OUTLIER = range(4)

# current_state.membership and local_memberships.membership
MEMBERSHIPS = {"join": 1, "invite": 2, "knock": 3, "leave": 4, "ban": 5}
MEMBERSHIP_NAMES = {number: name for name, number in MEMBERSHIPS.items()}


@frozen
class HeadMove:
    """The head's row: what it must still be (`expected`), and what it becomes."""

    room_nid: int
    expected: int
    version: int
    extremities: tuple[int, ...]
    depth: int
    sp: int
    chains: int
    joined: int
    invited: int


@frozen(kw_only=True)
class EventRow:
    """One row of `events`. `in_timeline`: it takes a number of the clock; outliers do not."""

    event_nid: int
    event_id: str
    origin_server_ts: int
    sender_nid: int
    type: str
    key_nid: int | None
    state_sp: int | None
    overlay_nid: int | None = None
    line_sp: int | None
    on_line: bool = False
    status: int = ACCEPTED
    rejection: str | None = None
    in_timeline: bool = True
    prev_nids: tuple[int, ...]
    auth_nids: tuple[int, ...]
    chain: int | None = None
    chain_seq: int | None = None
    chain_links: tuple[int, ...] | None = None
    txn_device: int | None = None
    txn_id: str | None = None
    json: bytes = field(repr=False)


@frozen
class StateChange:
    """The main line's entry at `sp`; no event: the key went away. `membership` for members' keys."""

    key_nid: int
    sp: int
    event_nid: int | None
    membership: int | None = None


@frozen
class MembershipChange:
    """What a room is to one of our own users from now on; `event_index` counts the batch's events."""

    user_nid: int
    membership: int
    event_nid: int
    event_index: int
    stripped_state: str | None = None


@frozen
class RelationRow:
    """`child` relates to `parent_id`; `event_index` counts the batch's events."""

    child_nid: int
    event_index: int
    sender_nid: int
    parent_id: str
    rel_type: str
    child_type: str


@frozen
class RedactionRow:
    """`redaction_nid` names `redacts`; `applies`: it was allowed to, so the target is redacted."""

    redaction_nid: int
    redacts: str
    applies: bool


@frozen
class NoticeRow:
    """One outcome of the push rules for an event: whom it notifies, and how (`actions`, JSON).

    `user_nids` are the notified ones or, with `everybody`, those in the room who are not; the sender never is.
    `event_index` counts the batch's events; `thread_id` is empty for the main timeline.
    """

    event_index: int
    everybody: bool
    highlight: bool
    user_nids: tuple[int, ...]
    thread_id: str
    actions: str


@frozen
class Listing:
    """Where a new room can be found: under an alias of ours (with its creator's number), in our directory."""

    alias: tuple[str, int] | None = None
    published: bool = False


@frozen(kw_only=True)
class RoomBatch:
    """Everything one step of one room writes. `note` goes back to whoever hears of the commit."""

    head: HeadMove
    events: tuple[EventRow, ...]
    new_room: Room | None = None  # the batch begins the room
    listing: Listing | None = None  # of a new room
    reserve: int = 0  # numbers of the clock that stay free before the first event, for what is missing there
    state: tuple[StateChange, ...] = ()
    memberships: tuple[MembershipChange, ...] = ()
    relations: tuple[RelationRow, ...] = ()
    redactions: tuple[RedactionRow, ...] = ()
    missing: tuple[tuple[str, int], ...] = ()  # (event id we lack, event_nid that names it)
    found: tuple[str, ...] = ()  # ids of this batch that older events named in vain
    outliers: tuple[int, ...] = ()  # events of this batch that are stored as outliers: these rows give way
    relayed: tuple[int, ...] = ()  # events of others that we send on to the servers in the room
    notices: tuple[NoticeRow, ...] = ()
    note: Any = field(default=None, repr=False, eq=False)

    @property
    def room_nid(self) -> int:
        """The room all rows belong to."""
        return self.head.room_nid

    @property
    def numbered(self) -> int:
        """How many numbers of the clock the batch takes."""
        return self.reserve + sum(event.in_timeline for event in self.events)
