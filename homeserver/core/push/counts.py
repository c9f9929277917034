"""Unread notifications of a user in a room, by thread, as clients are told [cs "Receiving notifications"].

A server may count what is unread besides: messages that rules mark as unread, whether they notify or not [MSC2625].
"""

from collections.abc import Mapping
from typing import Any, Final

from attrs import define, field

MAIN: Final = ""  # the main timeline among threads
UNREAD_COUNT: Final = "org.matrix.msc2625.unread_count"


@define
class Count:
    """Notifications that were not read, how many of them are highlights, and with them all that was not read."""

    notifications: int = 0
    highlights: int = 0
    unread: int = 0

    def as_json(self, *, marked: bool = False) -> dict[str, int]:
        """The form of /sync."""
        told = {"notification_count": self.notifications, "highlight_count": self.highlights}
        return {**told, UNREAD_COUNT: self.unread} if marked else told


@define
class Unread:
    """The counts of one room. Threads without any are left out. `marked`: what does not notify is counted, too."""

    threads: dict[str, Count] = field(factory=dict)
    marked: bool = False

    def add(self, thread_id: str, *, highlight: bool, notifies: bool = True) -> None:
        """One message more; it is only marked as unread, or a notification."""
        if not (notifies or self.marked):
            return
        count = self.threads.setdefault(thread_id, Count())
        count.notifications += notifies
        count.highlights += highlight
        count.unread += 1

    def read(self, thread_id: str) -> None:
        """All of a thread has been read."""
        self.threads.pop(thread_id, None)

    def copy(self) -> "Unread":
        """The same counts, to be gone on with."""
        threads = {
            name: Count(one.notifications, one.highlights, one.unread) for name, one in self.threads.items()
        }
        return Unread(threads, self.marked)

    @property
    def total(self) -> Count:
        """Of all threads together."""
        counts = self.threads.values()
        return Count(
            sum(one.notifications for one in counts),
            sum(one.highlights for one in counts),
            sum(one.unread for one in counts),
        )

    @property
    def badge(self) -> int:
        """What the icon of an app counts: messages that were not read, as far as they are counted [MSC2625]."""
        return self.total.unread if self.marked else self.total.notifications

    def as_fields(self, *, by_thread: bool) -> Mapping[str, Any]:
        """What a room of /sync says of it; by thread where the client has asked for that."""
        if not by_thread:
            return {"unread_notifications": self.total.as_json(marked=self.marked)}
        main = self.threads.get(MAIN, Count())
        told = {thread: count.as_json(marked=self.marked) for thread, count in self.threads.items()}
        told.pop(MAIN, None)
        return {
            "unread_notifications": main.as_json(marked=self.marked),
            "unread_thread_notifications": told,
        }


NONE_UNREAD: Final = Unread()
