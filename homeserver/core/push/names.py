"""Who of many is named in a text, for mentions that are found in what messages say [cs v1.16 "Predefined Rules"].

A name stands in a text as whole words, so each run of letters and digits of it is a run of the text too. People are
found by one run of each of their names, that by which fewest others are found (the surnames of a family, the suffix of
a bridge are in many): what a text costs grows with its words, not with the people.
"""

import re
from collections.abc import Iterator
from typing import Final

from attrs import define, field

from homeserver.core.globs import WordGlob, literal_word, word_glob
from homeserver.core.ids import localpart_of

_RUN = re.compile(
    r"[a-z0-9_]+"
)  # of a text in lower case: a word neither begins nor ends within [cs "Conditions"]
_ANYWHERE: Final = ""  # the key of names that no run and no character leads to


@define(eq=False)
class NamedPeople:
    """People by what they are called: the local part of their id, and a display name."""

    _found: dict[str, dict[str, tuple[WordGlob, ...]]] = field(factory=dict)  # key -> user id -> names
    _keys: dict[str, tuple[str, ...]] = field(factory=dict)  # user id -> keys

    def put(self, user_id: str, display_name: str | None) -> None:
        """Somebody is there, or is called something else now."""
        self.remove(user_id)
        keys = []
        for runs, name in _names(user_id, display_name):
            key = min(runs, key=self._crowd)
            people = self._found.setdefault(key, {})
            people[user_id] = (*people.get(user_id, ()), name)
            keys.append(key)
        self._keys[user_id] = tuple(keys)

    def remove(self, user_id: str) -> None:
        """Somebody is not there any more."""
        for key in set(self._keys.pop(user_id, ())):
            people = self._found[key]
            del people[user_id]
            if not people:
                del self._found[key]

    def _crowd(self, key: str) -> int:
        return len(self._found.get(key, ()))

    def called(self, text: str) -> set[str]:
        """Whom a text in lower case names."""
        keys = {*_RUN.findall(text), *_RUN.sub("", text), _ANYWHERE}
        return {
            user_id
            for key in keys & self._found.keys()
            for user_id, names in self._found[key].items()
            if any(name.is_in(text) for name in names)
        }


def _names(user_id: str, display_name: str | None) -> Iterator[tuple[list[str], WordGlob]]:
    """(possible keys, name) of what somebody is called."""
    localpart = localpart_of(user_id)
    if localpart:  # it is the pattern of a rule
        runs = [_ANYWHERE] if "*" in localpart or "?" in localpart else _runs(localpart)
        yield runs, word_glob(localpart)
    if display_name:
        yield _runs(display_name), literal_word(display_name)


def _runs(name: str) -> list[str]:
    name = name.lower()
    return _RUN.findall(name) or [name[0]]
