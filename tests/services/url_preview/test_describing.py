"""What is found in pages, good and bad ones."""

import time

import pytest

from homeserver.services.url_preview import previews
from homeserver.services.url_preview.charsets import decoded
from homeserver.services.url_preview.describing import MAX_VALUE, answer

LONG = "A paragraph that is long enough to tell what the page is about."


@pytest.mark.parametrize(
    ("html", "said"),
    [
        ("", {}),
        ("no html at all", {}),
        ("<title> A\n title </title>", {"og:title": "A title"}),
        ("<h1>Head</h1>", {"og:title": "Head"}),
        (
            "<title>t</title><meta property=og:title content=O><meta name='twitter:title' content=T>",
            {"og:title": "O"},
        ),
        ("<meta property=og:title content=one><meta property=og:title content=two>", {"og:title": "one"}),
        ("<meta name=Description content='about it'>", {"og:description": "about it"}),
        (f"<p>menu</p><p>{LONG}</p>", {"og:description": LONG}),
        ("<meta property=og:image content=/a.png>", {"og:image": "/a.png"}),
        ("<meta name=twitter:image content=/t.png>", {"og:image": "/t.png"}),
        ("<link rel=image_src href=/l.png>", {"og:image": "/l.png"}),
        ("<meta property=og:title content='&lt;b&gt; &amp;'>", {"og:title": "<b> &"}),
        ("<meta property=og:title><meta content=x><title></title>", {}),
        ("<meta property=og:video content=/v.mp4>", {}),
        (f"<title>{'x' * 5000}</title>", {"og:title": "x" * MAX_VALUE}),
        (
            "<title>a<script>b</script></title><script>'<title>c</title>'</script>",
            {"og:title": "a<script>b</script>"},
        ),
    ],
)
def test_pages(html, said):
    assert answer({"html": html}) == said


@pytest.mark.parametrize(
    ("content", "content_type", "text"),
    [
        ("ж".encode(), "text/html", "ж"),
        ("ж".encode("koi8-r"), "text/html; charset=KOI8-R", "ж"),
        ("ж".encode("windows-1251"), 'text/html; charset="windows-1251"', "ж"),
        (b"<meta charset=iso-8859-1>\xe9", "text/html", "<meta charset=iso-8859-1>é"),
        ("日本".encode("shift_jis"), "text/html; charset=Shift_JIS", "日本"),
        ("\ufeffж".encode("utf-16-le"), "text/html; charset=utf-8", "ж"),
        (b"\xff\xff", "text/html", "\ufffd\ufffd"),
        # Names of what is no writing, or costs too much to read.
        (b"aGk=", "text/html; charset=base64", "aGk="),
        (b"x", "text/html; charset=punycode", "x"),
        (b"x", "text/html; charset=iso-8859-99", "x"),
        (b"x", "text/html; charset=ÿ", "x"),
    ],
)
def test_characters(content, content_type, text):
    assert decoded(content, content_type) == text


async def test_a_page_that_takes_for_ever_says_nothing(monkeypatch):
    monkeypatch.setattr(previews, "_PARSING_SECONDS", 0.3)
    reader = previews.PageReader()
    try:
        begun = time.monotonic()
        assert await reader.describe("<div>" * 100_000) == {}
        assert time.monotonic() - begun < 5
        assert await reader.describe("<title>next</title>") == {"og:title": "next"}
    finally:
        await reader.close()
