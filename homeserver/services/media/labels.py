"""What is said of files: content types and names, made harmless, and how they are told to browsers."""

import re
from email.message import Message
from urllib.parse import quote

from storage.media import Label

UNKNOWN = "application/octet-stream"

# Browsers run nothing in these [cs "Serving inline content"].
INLINE = frozenset(
    """
    text/css text/plain text/csv application/json application/ld+json
    image/jpeg image/gif image/png image/apng image/webp image/avif
    video/mp4 video/webm video/ogg video/quicktime
    audio/mp4 audio/webm audio/aac audio/mpeg audio/ogg audio/wave audio/wav audio/x-wav audio/x-pn-wav
    audio/flac audio/x-flac
    """.split()
)
_MAX_TYPE = 255
_MAX_NAME = 255
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}(?:[ \t]*;[\x20-\x7e\t]*)?", re.ASCII)
_PLAIN_NAME = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def label(content_type: str | None, file_name: str | None) -> Label:
    """What is kept of an uploader's words."""
    told = (content_type or "").strip()
    good = len(told) <= _MAX_TYPE and _TYPE.fullmatch(told) is not None
    return Label(told if good else UNKNOWN, clean_name(file_name))


def clean_name(name: str | None) -> str | None:
    """A file's name without what could break a header, or deceive about the name's end."""
    return _UNPRINTABLE.sub("", name or "")[:_MAX_NAME] or None


def told_name(disposition: str | None) -> str | None:
    """The file name in another server's Content-Disposition."""
    if not disposition or len(disposition) > 4096:
        return None
    message = Message()
    message["Content-Disposition"] = _UNPRINTABLE.sub("", disposition)
    try:
        return clean_name(message.get_filename())
    except (ValueError, LookupError):
        return None


def disposition(content_type: str, file_name: str | None) -> str:
    """The Content-Disposition of a download [RFC 6266]."""
    essence = content_type.partition(";")[0].strip().lower()
    manner = "inline" if essence in INLINE else "attachment"
    if not file_name:
        return manner
    if _PLAIN_NAME.fullmatch(file_name):
        return f"{manner}; filename={file_name}"
    if file_name.isascii():
        escaped = file_name.replace("\\", "\\\\").replace('"', '\\"')
        return f'{manner}; filename="{escaped}"'
    return f"{manner}; filename*=utf-8''{quote(file_name, safe='')}"
