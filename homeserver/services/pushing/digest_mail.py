"""What stands in a mail about unread messages, as text and as HTML that loads nothing."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any
from urllib.parse import quote

from attrs import frozen

MAX_WORDS = 300  # characters of one message
_HTML = """<!DOCTYPE html><html lang="en"><body style="font:16px/1.5 sans-serif;color:#222">{body}
<p style="color:#777;font-size:13px">You get these mails because you asked {server} for them.
<a href="{link}">Get no more of them</a></p></body></html>
"""


@frozen
class Digest:
    """What to tell: notifications as for push gateways, the oldest first; `more`: there are others."""

    server_name: str
    link: str  # ends it
    notifications: Sequence[Mapping[str, Any]]
    more: bool


@frozen
class Written:
    """A mail without its addresses."""

    subject: str
    text: str
    html: str


def digest(about: Digest) -> Written:
    """The mail, room by room."""
    rooms: dict[str, list[Mapping[str, Any]]] = {}
    for one in about.notifications:
        rooms.setdefault(str(one["room_id"]), []).append(one)
    count = f"{len(about.notifications)}{' or more' if about.more else ''}"
    noun = "message" if count == "1" else "messages"
    text, html = [], []
    for told in rooms.values():
        name, link = _room(told), f"https://matrix.to/#/{quote(str(told[0]['room_id']), safe='')}"
        lines = [f"{who}: {' / '.join(map(_words, said))}" for who, said in groupby(told, _sender)]
        pairs = [(_sender(one), _words(one)) for one in told]
        text.append("\n".join([name, *(f"  {line}" for line in lines), f"  {link}"]))
        items = "".join(f"<p><b>{escape(who)}</b>: {escape(words)}</p>" for who, words in pairs)
        html.append(f'<h3><a href="{escape(link)}">{escape(name)}</a></h3>{items}')
    reason = f"You get these mails because you asked {about.server_name} for them."
    ending = f"{reason} To get no more of them:\n{about.link}"
    return Written(
        f"{count} unread {noun} on {about.server_name}",
        "\n\n".join([*text, *(["And more."] if about.more else []), ending]) + "\n",
        _HTML.format(
            body="".join([*html, *(["<p>And more.</p>"] if about.more else [])]),
            server=escape(about.server_name),
            link=escape(about.link),
        ),
    )


def _room(told: Sequence[Mapping[str, Any]]) -> str:
    last = told[-1]
    return _line(last.get("room_name") or last.get("room_alias") or f"A conversation with {_sender(last)}")


def _sender(one: Mapping[str, Any]) -> str:
    return _line(one.get("sender_display_name") or one.get("sender") or "Somebody")


def _words(one: Mapping[str, Any]) -> str:
    """What was said, where it can be read."""
    content = one.get("content")
    kind, body = one.get("type"), content.get("body") if isinstance(content, Mapping) else None
    if kind == "m.room.encrypted":
        return "an encrypted message"
    if kind == "m.room.member" and isinstance(content, Mapping) and content.get("membership") == "invite":
        return "an invitation"
    return _line(body) if isinstance(body, str) and body else "something new"


def _line(words: Any) -> str:
    """One short line, whatever others have called themselves or their room."""
    line = " ".join(str(words).split())
    return line if len(line) <= MAX_WORDS else line[: MAX_WORDS - 1] + "…"
