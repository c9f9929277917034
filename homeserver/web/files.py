"""Files as answers: parts of them, and nothing at all where the caller has the file already.

[RFC 9110 13.1.2 and 14]
"""

import re
from collections.abc import AsyncIterator, Callable, Mapping

from attrs import field, frozen

from homeserver.web.call import Call
from homeserver.web.reply import Reply

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


class Unsatisfiable(Exception):
    """The range begins behind the end."""


@frozen
class ServedFile:
    """A file that never changes. `read` gives the bytes between two places."""

    tag: str
    size: int
    content_type: str
    read: Callable[[int, int], AsyncIterator[bytes]]
    headers: Mapping[str, str] = field(factory=dict)


def file_reply(call: Call, file: ServedFile) -> Reply:
    """The whole, the part that was asked for, or word that the caller's copy is good."""
    tag = f'"{file.tag}"'
    headers = {"ETag": tag, "Accept-Ranges": "bytes", **file.headers}
    if _has_already(call.header("If-None-Match"), tag):
        return Reply(304, b"", headers)
    try:
        part = wanted_part(_range_header(call, tag), file.size)
    except Unsatisfiable:
        answer = {"errcode": "M_INVALID_PARAM", "error": "The range is not within the file"}
        return Reply(416, answer, {"Content-Range": f"bytes */{file.size}"})
    if part is None:
        return Reply(200, file.read(0, file.size), _sized(headers, file.size), file.content_type)
    start, end = part
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
    return Reply(206, file.read(start, end), _sized(headers, end - start), file.content_type)


def wanted_part(header: str, size: int) -> tuple[int, int] | None:
    """The first byte, and the one behind the last; None means the whole [RFC 9110 14.2].

    What cannot be read is as good as no header; several ranges at once need not be served.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        if length == 0:
            raise Unsatisfiable
        return size - length, size
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return start, min(int(last) + 1, size) if last else size


def _range_header(call: Call, tag: str) -> str:
    """The Range header, unless it was meant for another state of the file [RFC 9110 13.1.5]."""
    meant_for = call.header("If-Range").strip()
    return "" if meant_for and meant_for != tag else call.header("Range")


def _has_already(header: str, tag: str) -> bool:
    known = [one.strip().removeprefix("W/") for one in header.split(",")]
    return tag in known or known == ["*"]


def _sized(headers: Mapping[str, str], size: int) -> dict[str, str]:
    return {**headers, "Content-Length": str(size)}
