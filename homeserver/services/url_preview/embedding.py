"""What a site says of a page by oEmbed, as the properties of a preview: for pages that say little themselves.

https://oembed.com, JSON only, found by the page's link. Of markup that it offers to embed, nothing is used.
"""

from typing import Any

import orjson

OEMBED = "oembed"  # what `describing`, which runs elsewhere, calls the link
MAX_VALUE = 1000
MAX_ANSWER = 64 * 1024
PHOTO = "photo"


def embedded(answer: bytes) -> dict[str, str]:
    """The properties that an answer has; none where it is no answer."""
    try:
        told = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(told, dict):
        return {}
    image = _text(told, "url") if told.get("type") == PHOTO else ""
    found = {
        "og:title": _text(told, "title") or _text(told, "author_name"),
        "og:description": _text(told, "description"),
        "og:site_name": _text(told, "provider_name"),
        "og:image": image or _text(told, "thumbnail_url"),
    }
    return {name: value for name, value in found.items() if value}


def _text(told: dict[str, Any], name: str) -> str:
    value = told.get(name)
    return " ".join(value[: 10 * MAX_VALUE].split())[:MAX_VALUE] if isinstance(value, str) else ""
