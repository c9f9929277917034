"""Takes multipart bodies apart as they come in [RFC 2046 section 5.1]: how media travel between servers.

`feed` gives what the bytes made known: a `Part` where one begins, and the bytes of the present part.
"""

import re
from collections.abc import Mapping
from email.message import Message

from attrs import frozen

MAX_HEAD = 16 * 1024  # bytes of one part's headers
MAX_PREAMBLE = 16 * 1024

_BOUNDARY = re.compile(r"[A-Za-z0-9'()+_,./:=? -]{1,70}", re.ASCII)


class InvalidMultipart(ValueError):
    """The body is no multipart, or its headers are too long."""


@frozen
class Part:
    """The beginning of a part; names of headers in lower case."""

    headers: Mapping[str, str]


def boundary_of(content_type: str) -> bytes:
    """What stands between the parts."""
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_param("boundary")
    good = isinstance(boundary, str) and _BOUNDARY.fullmatch(boundary)
    if message.get_content_maintype() != "multipart" or not isinstance(boundary, str) or not good:
        raise InvalidMultipart("the answer is not multipart")
    return boundary.encode()


class Parts:
    """The state of one body. `ended` after the last part: what follows is not looked at."""

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._kept = b"\r\n"  # the first delimiter may stand at the very beginning
        self._step = self._preamble
        self.ended = False

    def feed(self, chunk: bytes) -> list[Part | bytes]:
        """Take up more of the body."""
        self._kept += chunk
        found: list[Part | bytes] = []
        while not self.ended and self._step(found):
            pass
        return found

    def _preamble(self, found: list[Part | bytes]) -> bool:
        if self._past_delimiter(None):
            return True
        if len(self._kept) > MAX_PREAMBLE:
            raise InvalidMultipart("the first part is missing")
        return False

    def _delimited(self, found: list[Part | bytes]) -> bool:
        """Behind a delimiter: two dashes end the body, a new line begins a part."""
        if len(self._kept) < 2:
            return False
        if self._kept.startswith(b"--"):
            self.ended = True
            return False
        padding, line_end, _ = self._kept.partition(b"\r\n")
        if not line_end and len(padding) < MAX_HEAD:
            return False
        if padding.strip(b" \t") or not line_end:
            raise InvalidMultipart("something stands behind a boundary")
        self._kept = self._kept[len(padding) :]
        self._step = self._head
        return True

    def _head(self, found: list[Part | bytes]) -> bool:
        head, ending, rest = self._kept.partition(b"\r\n\r\n")
        if len(head) > MAX_HEAD:
            raise InvalidMultipart("the headers of a part are too long")
        if not ending:
            return False
        found.append(Part(_headers(head)))
        self._kept = rest
        self._step = self._body
        return True

    def _body(self, found: list[Part | bytes]) -> bool:
        return self._past_delimiter(found)

    def _past_delimiter(self, found: list[Part | bytes] | None) -> bool:
        """Go on behind the next delimiter; what stands before it goes to `found`."""
        place = self._kept.find(self._delimiter)
        upto = place if place >= 0 else len(self._kept) - len(self._delimiter)
        if found is not None and upto > 0:
            found.append(self._kept[:upto])
        if place >= 0:
            self._kept = self._kept[place + len(self._delimiter) :]
            self._step = self._delimited
            return True
        if found is not None and upto > 0:
            self._kept = self._kept[upto:]
        return False


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("utf-8", "replace").split("\r\n")
    pairs = [line.partition(":") for line in lines if ":" in line]
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
