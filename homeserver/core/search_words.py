"""Texts become words to be found by, the same way for what is searched and for what is searched for.

Words are runs of letters and digits, without case or width. Scripts that put no spaces between words (Chinese,
Japanese, Korean, Thai, …) are cut into pairs of neighboring characters: a term of several characters is found where
its pairs follow one another. The results are texts of PostgreSQL's types tsvector and tsquery; as words hold letters,
digits and underscores only, nothing in them needs an escape.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen

MAX_TEXT = 20_000  # characters of a text that are looked at
MAX_WORDS = 2_000
MAX_TERMS = 20
MAX_WORD = 64  # characters
MAX_PLACES = 200  # of one word; PostgreSQL takes 255
PREFIX_FROM = 4  # characters: from that length on, a word also finds longer ones that begin with it

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_RUN = re.compile(rf"([{_UNSPACED}]+)|((?:(?![{_UNSPACED}])\w)+)")


@frozen
class Run:
    """Characters without anything between them."""

    text: str
    spaced: bool  # of a script that sets words apart

    @property
    def words(self) -> list[str]:
        """What it is found by: itself, or each pair of neighbors."""
        if self.spaced:
            return [self.text[:MAX_WORD]]
        pairs = [self.text[index : index + 2] for index in range(len(self.text) - 1)]
        return pairs or [self.text]


def runs(text: str) -> Iterator[Run]:
    """The runs of a text, in order."""
    for unspaced, spaced in _RUN.findall(_plain(text)):
        yield Run(spaced or unspaced, bool(spaced))


def document(text: str, marks: Iterable[str] = ()) -> str:
    """A tsvector of a text; `marks` are words of ours that no text has."""
    places: dict[str, list[int]] = {}
    place = 0
    for run in runs(text):
        for index, word in enumerate(run.words):
            place += 1
            places.setdefault(word, []).append(place)
            if not run.spaced and len(word) > 1:  # a single character is found, too
                ends = word if index == len(run.text) - 2 else word[0]
                for character in ends:
                    places.setdefault(character, []).append(place)
        if place >= MAX_WORDS:
            break
    told = [f"'{word}':{','.join(map(str, found[:MAX_PLACES]))}" for word, found in places.items()]
    return " ".join([*told, *(f"'{mark}'" for mark in marks)])


@frozen
class Query:
    """What is searched for: all of it must be there."""

    runs: tuple[Run, ...]

    def as_tsquery(self, marks: Sequence[str] = ()) -> str:
        """Every run, and one of the marks if there are any."""
        parts = [_wanted(run) for run in self.runs]
        if marks:
            parts.append("(" + " | ".join(f"'{mark}'" for mark in marks) + ")")
        return " & ".join(parts)

    def found_in(self, text: str) -> set[str]:
        """The words of a text that make it a result: what a client should mark."""
        wanted = {run.text for run in self.runs if run.spaced}
        beginnings = tuple(word for word in wanted if len(word) >= PREFIX_FROM)
        there = {spaced for _, spaced in _RUN.findall(_plain(text)) if spaced}
        words = {word for word in there if word in wanted or (beginnings and word.startswith(beginnings))}
        return words | {run.text for run in self.runs if not run.spaced}


def query(term: str) -> Query | None:
    """The query that a user's words make; None: there is nothing in them to search for."""
    found = tuple(dict.fromkeys(runs(term)))[:MAX_TERMS]
    return Query(found) if found else None


def endings(text: str) -> str:
    """A tsvector by which a name is found from within: the end of each word from each of its characters on."""
    words = {run.text[:MAX_WORD] for run in runs(text[:256])}
    found = {word[start:] for word in words for start in range(len(word))}
    return " ".join(f"'{ending}'" for ending in sorted(found)[:MAX_WORDS])


def part_of_name(term: str) -> str | None:
    """A tsquery on `endings`: each word of the term stands somewhere within a word of the name."""
    words = list(dict.fromkeys(run.text[:MAX_WORD] for run in runs(term)))[:MAX_TERMS]
    return " & ".join(f"'{word}':*" for word in words) or None


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text[:MAX_TEXT]).casefold()


def _wanted(run: Run) -> str:
    if run.spaced:
        beginning = ":*" if len(run.text) >= PREFIX_FROM else ""
        return f"'{run.text[:MAX_WORD]}'{beginning}"
    return "(" + " <-> ".join(f"'{word}'" for word in run.words[:MAX_WORD]) + ")"
