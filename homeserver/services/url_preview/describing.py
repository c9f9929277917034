"""Finds what a web page says about itself. Runs in `confined_program`: parsing a hostile page can take for ever.

{"html": "<!doctype html>…"}
{"og:title": "…", "og:description": "…", "og:image": "/a.png", "oembed": "/oembed?url=…"}
"""

import re
from typing import Any

from selectolax.lexbor import LexborHTMLParser

MAX_VALUE = 1000
MAX_TAGS = 500
MAX_PARAGRAPHS = 20

# What previews are made of, and where pages say it: the first that is there counts.
SOURCES = {
    "og:title": ("og:title", "twitter:title"),
    "og:description": ("og:description", "twitter:description", "description"),
    "og:site_name": ("og:site_name",),
    "og:type": ("og:type",),
    "og:url": ("og:url",),
    "og:image": ("og:image", "og:image:url", "og:image:secure_url", "twitter:image", "image"),
}
OEMBED = "oembed"
_BLANKS = re.compile(r"[\s\x00-\x1f\x7f]+")
_LEAST_PARAGRAPH = 40  # characters; shorter ones are menus and buttons


def answer(order: dict[str, Any]) -> dict[str, str]:
    """The properties [cs "Content repository"], as text."""
    page = LexborHTMLParser(order["html"])
    said = told(page)
    found = {}
    for name, sources in SOURCES.items():
        value = next((said[source] for source in sources if said.get(source)), "")
        found[name] = value or fallback(page, name)
    found[OEMBED] = oembed(page)
    return {name: value for name, value in found.items() if value}


def told(page: LexborHTMLParser) -> dict[str, str]:
    """All meta elements, the first of each name."""
    said: dict[str, str] = {}
    for element in page.css("meta[content]")[:MAX_TAGS]:
        attributes = element.attributes
        for key in ("property", "name", "itemprop"):
            name = (attributes.get(key) or "").lower()
            if name:
                said.setdefault(name, tidy(attributes.get("content") or ""))
    return said


def fallback(page: LexborHTMLParser, name: str) -> str:
    """What serves when the page is silent."""
    if name == "og:title":
        return text_of(page, "title") or text_of(page, "h1")
    if name == "og:description":
        paragraphs = (tidy(element.text()) for element in page.css("p")[:MAX_PARAGRAPHS])
        return next((text for text in paragraphs if len(text) >= _LEAST_PARAGRAPH), "")
    if name == "og:image":
        link = page.css_first("link[rel=image_src]")
        return tidy((link.attributes.get("href") or "") if link is not None else "")
    return ""


def oembed(page: LexborHTMLParser) -> str:
    """Where the page's site says more of it, as JSON."""
    link = page.css_first('link[type="application/json+oembed"]')
    return tidy((link.attributes.get("href") or "") if link is not None else "")


def text_of(page: LexborHTMLParser, selector: str) -> str:
    """The text of the first such element."""
    element = page.css_first(selector)
    return tidy(element.text()) if element is not None else ""


def tidy(text: str) -> str:
    """In one line, of a bearable length."""
    return _BLANKS.sub(" ", text[: 10 * MAX_VALUE]).strip()[:MAX_VALUE]
