"""Messages that say until when they want to be read [MSC2228].

Servers show them in redacted form from then on. The proposal counts from when everybody has read a message; what
servers and clients have in common is the point in time that the sender names.
"""

from homeserver.core.event import Event

SELF_DESTRUCT_AFTER = "org.matrix.self_destruct_after"  # milliseconds since the epoch
MARK = SELF_DESTRUCT_AFTER.encode()  # what the canonical JSON of all such events has in it


def names_its_end(event: Event) -> bool:
    """Does the event want to be forgotten some time? State stays: the room is made of it."""
    return type(event.content.get(SELF_DESTRUCT_AFTER)) is int and not event.is_state


def is_over(event: Event, now: int) -> bool:
    """Has its time come?"""
    return names_its_end(event) and event.content[SELF_DESTRUCT_AFTER] <= now
