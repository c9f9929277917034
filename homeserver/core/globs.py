"""Glob-style matching, linear in the text [appendices "Glob-style matching"].

Patterns come from users and other servers, texts too, so no pair of them may cost more than its size. A pattern
is cut at its `*`; the pieces are found one after the other, leftmost first, which needs no backtracking. A
whole pattern as one regular expression would not do: even RE2, which is linear in the text, is quadratic in effect
where the pattern is as long as the text. Pieces without `?` are found by `str.find`. For the others a short
expression has a known length and so tries each place once; long ones, of which there cannot be many, are RE2's.
"""

import re
import string
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import re2
from attrs import frozen

_CACHED_PATTERNS = 4096
_LONGEST_CACHED = 256  # characters; longer patterns are taken apart at each use
_LONGEST_SHORT_PIECE = 64
_WORD = frozenset(string.ascii_letters + string.digits + "_")
_QUIET = re2.Options()
_QUIET.log_errors = False
_QUIET.dot_nl = True


@frozen
class _Piece:
    """What stands between two `*`: characters, each itself or `?`, which is any."""

    text: str
    compiled: Any  # a regular expression where there is a `?`, else None

    def stands_at(self, text: str, position: int) -> bool:
        """Does `text` continue with this piece at `position`?"""
        if self.compiled is None:
            return text.startswith(self.text, position)
        end = position + len(self.text)
        if end > len(text):
            return False
        return all(mine in ("?", other) for mine, other in zip(self.text, text[position:end], strict=True))

    def find(self, text: str, start: int, end: int) -> int:
        """Where the piece first stands within text[start:end]; -1 where it does not."""
        if self.compiled is None:
            return text.find(self.text, start, end)
        found = self.compiled.search(text, start, end)
        return found.start() if found else -1


@frozen
class Glob:
    """A pattern taken apart, to be matched against whole texts."""

    ignore_case: bool
    pieces: tuple[_Piece, ...]

    def matches(self, text: str) -> bool:
        """Does the whole of `text` match?"""
        if self.ignore_case:
            text = text.lower()
        first, *middle = self.pieces
        if not middle:
            return len(text) == len(first.text) and first.stands_at(text, 0)
        last = middle.pop()
        position, end = len(first.text), len(text) - len(last.text)
        if position > end or not first.stands_at(text, 0) or not last.stands_at(text, end):
            return False
        for piece in middle:
            found = piece.find(text, position, end)
            if found < 0:
                return False
            position = found + len(piece.text)
        return True


@frozen
class WordGlob:
    """A pattern to be found within texts, from one end of a word to one, in any case [cs "Conditions"]."""

    pieces: tuple[_Piece, ...]

    def is_in(self, text: str) -> bool:
        """Does a part of `text`, which is in lower case, match that starts and ends where words do?"""
        first, *others = self.pieces
        position = 0
        while True:  # the leftmost place at which the pattern may begin leaves the most room for the rest
            found = first.find(text, position, len(text))
            if found < 0:
                return False
            end = found + len(first.text)
            if _may_start(text, found) and (others or _may_end(text, end)):
                return not others or _continues(others, text, end)
            position = found + 1


def _continues(pieces: Sequence[_Piece], text: str, position: int) -> bool:
    """Do the pieces follow one another, the last one up to the end of a word?"""
    *middle, last = pieces
    for piece in middle:
        found = piece.find(text, position, len(text))
        if found < 0:
            return False
        position = found + len(piece.text)
    if not last.text:
        return True
    while (found := last.find(text, position, len(text))) >= 0:
        if _may_end(text, found + len(last.text)):
            return True
        position = found + 1
    return False


def _may_start(text: str, index: int) -> bool:
    """Does no letter, digit or underscore of ASCII stand right before?"""
    return index == 0 or text[index - 1] not in _WORD


def _may_end(text: str, index: int) -> bool:
    """Does none of them stand right after?"""
    return index == len(text) or text[index] not in _WORD


def word_glob(pattern: str) -> WordGlob:
    """A pattern whose matches are parts of texts: whole words, or several."""
    return WordGlob(glob(pattern, ignore_case=True).pieces)


def literal_word(text: str) -> WordGlob:
    """A text that is found as whole words; `*` and `?` in it are themselves."""
    return WordGlob((_Piece(text.lower(), None),))


def glob(pattern: str, *, ignore_case: bool = False) -> Glob:
    """`*` matches any number of characters, `?` exactly one, everything else itself."""
    if len(pattern) > _LONGEST_CACHED:
        return _take_apart(pattern, ignore_case)
    return _cached(pattern, ignore_case)


def _take_apart(pattern: str, ignore_case: bool) -> Glob:
    texts = (pattern.lower() if ignore_case else pattern).split("*")
    inner = [text for text in texts[1:-1] if text]  # `**` is `*`
    kept = [texts[0], *inner, texts[-1]] if len(texts) > 1 else texts
    return Glob(ignore_case, tuple(_piece(text) for text in kept))


_cached = lru_cache(maxsize=_CACHED_PATTERNS)(_take_apart)


def _piece(text: str) -> _Piece:
    if "?" not in text:
        return _Piece(text, None)
    if len(text) <= _LONGEST_SHORT_PIECE:
        return _Piece(text, re.compile(".".join(map(re.escape, text.split("?"))), re.DOTALL))
    return _Piece(text, re2.compile(".".join(map(re2.escape, text.split("?"))), _QUIET))
