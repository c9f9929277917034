"""Parses a large JSON object as it comes in, a piece at a time, so that the loop is never held for long.

A state of fifty thousand events comes as one object with two arrays. A parser that takes the text as a whole stops
everything else for seconds. Here the elements of the outer object's arrays, and the members of its objects, are
parsed one by one by the standard library's decoder, which can begin anywhere; only what is not complete yet is kept
as text. The parser is a generator that yields when it needs more.
"""

import codecs
import re
from collections.abc import Generator
from json import JSONDecodeError, JSONDecoder
from typing import Any

from homeserver.core import canonical_json

MAX_PIECE = 4 * 1024 * 1024  # characters of one element

_BLANKS = re.compile(r"[ \t\n\r]*")

Reading = Generator[None, None, Any]


class NotAnObject(ValueError):
    """The text is not JSON, or not an object, or has a part that is too large."""


def _refuse(text: str) -> Any:
    raise NotAnObject(f"{text} is not JSON")


_DECODER = JSONDecoder(parse_constant=_refuse)


class SlicedObject:
    """`feed` it the bytes, then `finish` gives the object."""

    def __init__(self) -> None:
        self._bytes = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._at = 0  # everything before is parsed
        self._final = False
        self._found: dict[str, Any] = {}
        self._reading = self._outer()

    def feed(self, chunk: bytes) -> None:
        """Take up more of the text, and parse what is complete."""
        try:
            self._text = self._text[self._at :] + self._bytes.decode(chunk, self._final)
            self._at = 0
            next(self._reading)
        except NotAnObject:
            raise
        except (ValueError, RecursionError) as error:
            raise NotAnObject("it is not JSON") from error

    def finish(self) -> dict[str, Any]:
        """The whole, when all was fed."""
        self._final = True
        try:
            self.feed(b"")
        except StopIteration:
            return self._found
        raise AssertionError("the parser asks for more than there is")

    def _outer(self) -> Reading:
        if (yield from self._peek()) != "{":
            raise NotAnObject("it is not an object")
        self._found = yield from self._object(self._value)
        while not self._final:
            self._require_blank()
            yield
        self._require_blank()

    def _value(self) -> Reading:
        opener = yield from self._peek()
        if opener == "[":
            return (yield from self._array())
        if opener == "{":
            return (yield from self._object(self._piece))
        return (yield from self._piece())

    def _object(self, value: Any) -> Reading:
        found: dict[str, Any] = {}
        self._at += 1
        more = (yield from self._peek()) != "}"
        while more:
            if (yield from self._peek()) != '"':
                raise NotAnObject("a name is missing")
            name = yield from self._piece()
            if (yield from self._peek()) != ":":
                raise NotAnObject("a colon is missing")
            self._at += 1
            found[name] = yield from value()
            more = yield from self._comma("}")
        self._at += 1
        return found

    def _array(self) -> Reading:
        found: list[Any] = []
        self._at += 1
        more = (yield from self._peek()) != "]"
        while more:
            found.append((yield from self._piece()))
            more = yield from self._comma("]")
        self._at += 1
        return found

    def _comma(self, closer: str) -> Reading:
        """Does something follow? If so, we stand behind the comma, else at the closer."""
        found = yield from self._peek()
        if found == closer:
            return False
        if found != ",":
            raise NotAnObject("a comma is missing")
        self._at += 1
        return True

    def _piece(self) -> Reading:
        """One value as a whole. While it is incomplete it is tried again when it has doubled: linear in all."""
        yield from self._peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except JSONDecodeError:
                if self._final:
                    raise
            else:
                if end < len(self._text) or self._final:  # a number may go on
                    self._require_sound(end)
                    self._at = end
                    return value
            tried = len(self._text) - self._at
            if tried > MAX_PIECE:
                raise NotAnObject("a part of it is too large")
            while len(self._text) - self._at < 2 * tried and self._more_to_come():
                yield

    def _peek(self) -> Reading:
        """The next character that is no blank."""
        while True:
            blanks = _BLANKS.match(self._text, self._at)
            assert blanks is not None
            self._at = blanks.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if self._final:
                raise NotAnObject("it ends too early")
            yield

    def _more_to_come(self) -> bool:
        return not self._final

    def _require_sound(self, end: int) -> None:
        """Halves of surrogate pairs have no UTF-8: the standard library lets them pass, our decoder does not."""
        if self._text.find("\\u", self._at, end) >= 0:
            canonical_json.decode_lenient(self._text[self._at : end].encode())

    def _require_blank(self) -> None:
        blanks = _BLANKS.match(self._text, self._at)
        assert blanks is not None
        self._at = blanks.end()
        if self._at < len(self._text):
            raise NotAnObject("something follows the object")
