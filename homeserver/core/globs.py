"""Glob-style matching, linear in the text [appendices "Glob-style matching"].

Patterns come from users and other servers, texts too, so no pair of them may cost more than its size. A pattern
is cut at its `*`; the pieces are found one after the other, leftmost first, which needs no backtracking. A
whole pattern as one regular expression would not do: even RE2, which is linear in the text, is quadratic in effect
where the pattern is as long as the text. Pieces without `?` are found by `str.find`. For the others a short
expression has a known length and so tries each place once; long ones, of which there cannot be many, are RE2's.
"""

import re
from functools import lru_cache
from typing import Any

import re2
from attrs import frozen

_CACHED_PATTERNS = 4096
_LONGEST_CACHED = 256  # characters; longer patterns are taken apart at each use
_LONGEST_SHORT_PIECE = 64
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
