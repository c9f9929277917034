"""Words of texts, in scripts with and without spaces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.search_words import document, endings, part_of_name, query, runs


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, World!", ["hello", "world"]),
        ("ＦＵＬＬ ｗｉｄｔｈ", ["full", "width"]),
        ("Straße Ωmega", ["strasse", "ωmega"]),
        ("it's 100% e-mail", ["it", "s", "100", "e", "mail"]),
        ("今日は天気", ["今日", "日は", "は天", "天気"]),
        ("中", ["中"]),
        ("v2版 release", ["v2", "版", "release"]),
        ("안녕 하세요", ["안녕", "하세", "세요"]),
        ("' \\ & | ! :*", []),
        ("", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert [word for run in runs(text) for word in run.words] == words


def test_documents_have_places() -> None:
    assert document("a b a", ["!7"]) == "'a':1,3 'b':2 '!7'"
    assert document("天気だ") == "'天気':1 '天':1 '気だ':2 '気':2 'だ':2"
    assert document("") == ""


def test_queries() -> None:
    asked = query("Martians AND 天気だ x")
    assert asked is not None
    assert (
        asked.as_tsquery(["!1", "!2"]) == "'martians':* & 'and' & ('天気' <-> '気だ') & 'x' & ('!1' | '!2')"
    )
    assert query("?!") is None


def test_highlights() -> None:
    asked = query("mars 天気")
    assert asked is not None
    assert asked.found_in("Marsians on Mars: 天気はいい") == {"marsians", "mars", "天気"}


def test_names() -> None:
    assert endings("Bob") == "'b' 'bob' 'ob'"
    assert part_of_name("@ob:x") == "'ob':* & 'x':*"
    assert part_of_name("%") is None


@given(st.text(max_size=300))
def test_nothing_needs_an_escape(text: str) -> None:
    for written in (document(text), endings(text), part_of_name(text) or ""):
        inside = written.split("'")[1::2]
        assert all(word.replace("_", "a").isalnum() or word for word in inside)
        assert "\\" not in written
        assert written.count("'") % 2 == 0
