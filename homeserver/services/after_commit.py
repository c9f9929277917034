"""What this process does right after a commit: recent timelines, memberships, and waking who waits, in this order."""

from collections.abc import Sequence
from typing import Protocol

from attrs import field, frozen

from homeserver.services.growth import Note
from homeserver.services.notifier import Notifier
from homeserver.services.tails import Tails
from storage.committer import Committed
from storage.room_batches import MEMBERSHIPS


class Listener(Protocol):
    """Somebody who hears of every commit, and only takes note."""

    def heard(self, position: int, commits: Sequence[Committed]) -> None:
        """Everything up to `position` is committed, last of all `commits`."""
        ...


@frozen
class AfterCommit:
    """The committer's listener: called synchronously, in commit order."""

    notifier: Notifier
    tails: Tails
    followers: list[Listener] = field(factory=list)

    def __call__(self, position: int, commits: list[Committed]) -> None:
        before = commits[0].before
        if before > self.notifier.position:
            # Numbers were given out by another process, or by a turn whose outcome we never learned.
            self.tails.clear()
            self.notifier.missed(before)
        for commit in commits:
            if commit.batch is not None and commit.batch.reserve:
                self.tails.forget(
                    commit.batch.room_nid
                )  # what is missing may come to stand before the events
            if commit.batch is not None and isinstance(commit.batch.note, Note):
                self._room_grew(commit.batch.room_nid, commit.first, commit.batch.note)
        self.notifier.announce(position, commits)
        for follower in self.followers:
            follower.heard(position, commits)

    def _room_grew(self, room_nid: int, first: int, note: Note) -> None:
        events = [event.at(first + index) for index, event in enumerate(note.events)]
        self.tails.extend(room_nid, first - 1, events)
        for redacted in note.redacted:
            self.tails.replace(
                room_nid,
                redacted.target.event.event_id,
                redacted_by=redacted.redaction_nid,
                event=redacted.target,
            )
        for change in note.memberships:
            joined = change.membership == MEMBERSHIPS["join"]
            self.notifier.membership(change.user_nid, room_nid, joined=joined)
