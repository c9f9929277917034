"""The tokens that clients hand back: sync's `since` and the ends of pages.

A token is a place between two numbers of the clock: `s17` stands after everything numbered up to 17. Tokens of sync
and of pagination are interchangeable. History that was fetched backwards has negative numbers. A sync token may
also say up to where the device's inbox has been delivered, when that lags behind: `s17_9`. A position of sliding sync
names its connection and what had been told on it: `p17_3_9`; as the end of a page it is a place like the others.
"""

import re

from attrs import frozen

from homeserver.core.errors import MatrixError, invalid_param

_TOKEN = re.compile(r"[st](-?[0-9]{1,18})(?:_([0-9]{1,18}))?", re.ASCII)
_SLIDING = re.compile(r"p([0-9]{1,18})_([0-9]{1,18})_([0-9]{1,18})", re.ASCII)


@frozen
class SyncToken:
    """What a client has seen. `inbox`: up to where it has its to-device messages, if not up to `position`."""

    position: int
    inbox: int | None = None

    @property
    def seen_inbox(self) -> int:
        """To-device messages up to this number have been delivered."""
        return self.position if self.inbox is None else self.inbox

    def __str__(self) -> str:
        return f"s{self.position}" if self.inbox is None else f"s{self.position}_{self.inbox}"


@frozen
class SlidingPos:
    """Where a connection of sliding sync stands: `ordinal` counts the changes of what the client has been told."""

    position: int
    connection: int
    ordinal: int

    def __str__(self) -> str:
        return f"p{self.position}_{self.connection}_{self.ordinal}"


def parse_sliding_pos(text: str) -> SlidingPos | None:
    """The position that an earlier answer gave; None: it is none of ours."""
    matched = _SLIDING.fullmatch(text)
    return None if matched is None else SlidingPos(int(matched[1]), int(matched[2]), int(matched[3]))


def page_token(position: int) -> str:
    """The token of the place after `position`."""
    return f"s{position}"


def parse_sync_token(text: str) -> SyncToken:
    """The token of an earlier sync. Raises M_INVALID_PARAM."""
    matched = _TOKEN.fullmatch(text)
    if matched is None or matched[1].startswith("-"):
        raise _bad(text)
    return SyncToken(int(matched[1]), None if matched[2] is None else int(matched[2]))


def parse_page_token(text: str) -> int:
    """The place that a token of any kind names. Raises M_INVALID_PARAM."""
    matched = _TOKEN.fullmatch(text) or _SLIDING.fullmatch(text)
    if matched is None:
        raise _bad(text)
    return int(matched[1])


def _bad(text: str) -> MatrixError:
    return invalid_param(f"Not a token of this server: {text[:64]}")
