"""The identifier grammars: users, rooms, events, aliases, servers [appendices "Identifier grammar"].

Identifiers are plain `str` inside; a `NewType` tells the reader which one is meant, and the functions
here are the only judges of their shape. Two strictnesses exist for users: what we hand out, and the
historical grammar that must be accepted from others [appendices "Historical user IDs"].
"""

import re
from functools import lru_cache
from typing import NewType

UserID = NewType("UserID", str)
RoomID = NewType("RoomID", str)
EventID = NewType("EventID", str)
RoomAlias = NewType("RoomAlias", str)
ServerName = NewType("ServerName", str)

MAX_ID_BYTES = 255  # [appendices "Common identifier format"]

_SERVER_NAME = re.compile(
    r"(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z.-]{1,255})(?::\d{1,5})?", re.ASCII
)
_LOCALPART = re.compile(r"[a-z0-9._=/+-]+", re.ASCII)  # since room v1's end; what new accounts may use
_HISTORICAL_LOCALPART = re.compile(r"[^:\x00\ud800-\udfff]*")
_OPAQUE = re.compile(r"[^\x00\ud800-\udfff]+")
_ROOM_HASH = re.compile(r"![A-Za-z0-9_-]{43}", re.ASCII)


@lru_cache(maxsize=4096)  # thousands of users are of the same few servers
def is_server_name(text: str) -> bool:
    """Is `text` host[:port] as the grammar has it? [appendices "Server name"]"""
    return len(text) <= 230 and _SERVER_NAME.fullmatch(text) is not None


def is_user_id(text: object) -> bool:
    """May `text` name a user of any server, historical ids included?"""
    return _sigil_and_server(text, "@", _HISTORICAL_LOCALPART)


def is_localpart(text: str, server_name: str) -> bool:
    """May a new account of ours be called `text`? The whole id must fit [appendices "User identifiers"]."""
    fits = len(text) + len(server_name) + 2 <= MAX_ID_BYTES
    return fits and _LOCALPART.fullmatch(text) is not None


def is_room_alias(text: object) -> bool:
    """Is `text` a room alias, #opaque:server?"""
    return _sigil_and_server(text, "#", _OPAQUE)


def is_room_id(text: object) -> bool:
    """Is `text` a room id: !opaque:server (until v11) or !hash of the create event (since v12)?"""
    return isinstance(text, str) and _is_room_id(text)


@lru_cache(maxsize=256)  # events come by rooms
def _is_room_id(text: str) -> bool:
    return _ROOM_HASH.fullmatch(text) is not None or _sigil_and_server(text, "!", _OPAQUE)


def is_event_id(text: object) -> bool:
    """Could `text` be an event id of some room version? $opaque:server (v1, v2) or $hash."""
    return isinstance(text, str) and len(text) > 1 and text[0] == "$" and fits(text) and "\x00" not in text


def fits(text: str) -> bool:
    """No identifier exceeds 255 bytes of UTF-8 [appendices "Common identifier format"]."""
    if len(text) <= MAX_ID_BYTES // 4:  # characters have four bytes at most
        return True
    return len(text) <= MAX_ID_BYTES and (
        text.isascii() or len(text.encode("utf-8", "replace")) <= MAX_ID_BYTES
    )


def domain_of(identifier: str) -> str:
    """The server part of an id: everything behind its first colon; empty where there is none."""
    return identifier.partition(":")[2]


def localpart_of(identifier: str) -> str:
    """What stands between the sigil and the first colon."""
    return identifier[1:].partition(":")[0]


def _sigil_and_server(text: object, sigil: str, localpart: re.Pattern[str]) -> bool:
    if not isinstance(text, str) or text[:1] != sigil or not fits(text):
        return False
    local, colon, server = text[1:].partition(":")
    return bool(colon) and localpart.fullmatch(local) is not None and is_server_name(server)
