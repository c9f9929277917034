"""Whom a text names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.globs import literal_word, word_glob
from homeserver.core.push.names import NamedPeople

ALICE, BOB = "@alice:a.example", "@bob:a.example"


@pytest.mark.parametrize(
    ("display_name", "text", "named"),
    [
        (None, "hi alice!", True),
        (None, "@alice:a.example", True),
        (None, "alices", False),
        (None, "al ice", False),
        ("Al  Ice", "al ice, al  ice", True),
        ("Al Ice", "al, ice", False),
        ("李", "你好李先生", True),  # words end at whatever is no letter or digit of ASCII
        ("李", "你好", False),
        ("🎉", "🎉🎉", True),
        ("*", "alic*", False),  # in a display name it is itself
        ("*", "alic *", True),
        ("", "", False),
    ],
)
def test_names(display_name: str | None, text: str, named: bool) -> None:
    people = NamedPeople()
    people.put(BOB, "Bob")
    people.put(ALICE, display_name)
    assert people.called(text) == ({ALICE} if named else set())


def test_who_is_called_something_else_is_not_found_by_the_old_name() -> None:
    people = NamedPeople()
    people.put(ALICE, "Carol C")
    people.put(ALICE, "Dora")
    assert people.called("carol c") == set()
    assert people.called("dora") == {ALICE}
    people.remove(ALICE)
    people.remove(ALICE)
    assert people.called("alice dora") == set()


_texts = st.text("aB_1 -é李*?Σ", max_size=8)


@given(
    names=st.dictionaries(st.text("ab1_-.*?", max_size=4), _texts | st.none(), max_size=6),
    texts=st.lists(_texts | st.text(max_size=8), min_size=1, max_size=4),
)
def test_they_are_found_as_one_by_one(names: dict[str, str | None], texts: list[str]) -> None:
    people = NamedPeople()
    for localpart, display_name in names.items():
        people.put(f"@{localpart}:x", display_name)
    for text in [*texts, *(name for name in names.values() if name)]:
        lower = text.lower()
        expected = {
            f"@{localpart}:x"
            for localpart, name in names.items()
            if (localpart and word_glob(localpart).is_in(lower)) or (name and literal_word(name).is_in(lower))
        }
        assert people.called(lower) == expected


def test_words_that_many_are_called_by_are_no_help() -> None:
    people = NamedPeople()
    for number in range(500):
        people.put(f"@bridge_{number}:x", f"Person {number} (Bridge)")
    assert people.called("no person of the bridge") == set()
    assert people.called("who is person 17 (bridge)?") == {"@bridge_17:x"}
    assert max(map(len, people._found.values())) < 20  # those a text is held against for one of its words
