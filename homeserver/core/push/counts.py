"""Unread notifications of a user in a room, by thread, as clients are told [cs "Receiving notifications"]."""

from collections.abc import Mapping
from typing import Any, Final

from attrs import define, field

MAIN: Final = ""  # the main timeline among threads


@define
class Count:
    """Notifications that were not read, and how many of them are highlights."""

    notifications: int = 0
    highlights: int = 0

    def as_json(self) -> dict[str, int]:
        """The form of /sync."""
        return {"notification_count": self.notifications, "highlight_count": self.highlights}


@define
class Unread:
    """The counts of one room. Threads without any are left out."""

    threads: dict[str, Count] = field(factory=dict)

    def add(self, thread_id: str, *, highlight: bool) -> None:
        """One more notification."""
        count = self.threads.setdefault(thread_id, Count())
        count.notifications += 1
        count.highlights += highlight

    def read(self, thread_id: str) -> None:
        """All of a thread has been read."""
        self.threads.pop(thread_id, None)

    def copy(self) -> "Unread":
        """The same counts, to be gone on with."""
        return Unread({name: Count(one.notifications, one.highlights) for name, one in self.threads.items()})

    @property
    def total(self) -> Count:
        """Of all threads together."""
        counts = self.threads.values()
        return Count(sum(one.notifications for one in counts), sum(one.highlights for one in counts))

    def as_fields(self, *, by_thread: bool) -> Mapping[str, Any]:
        """What a room of /sync says of it; by thread where the client has asked for that."""
        if not by_thread:
            return {"unread_notifications": self.total.as_json()}
        main = self.threads.get(MAIN, Count())
        others = {thread: count.as_json() for thread, count in self.threads.items() if thread != MAIN}
        return {"unread_notifications": main.as_json(), "unread_thread_notifications": others}


NONE_UNREAD: Final = Unread()
