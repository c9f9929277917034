"""What /.well-known/matrix/server says, and for how long to believe it [ss "Resolving server names" 3].

Pure: the transport fetches; this module reads the answer, judges redirects and tells lifetimes in seconds.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

from attrs import frozen

from homeserver.core import canonical_json
from homeserver.core.ids import is_server_name

MAX_BYTES = 50 * 1024  # of the answer; a good one has fifty
MAX_REDIRECTS = 5  # "redirection loops should be avoided"
MAX_URL = 2048

DEFAULT_LIFETIME = 24 * 3600  # where the answer does not say: "recommended sensible default"
MAX_LIFETIME = 48 * 3600  # "48 hours is recommended"
MIN_LIFETIME = 5 * 60  # ours: else "no-cache" would cost a look-up for every connection
FIRST_ERROR_LIFETIME = 2 * 60  # doubled by each further failure: "exponentially back off"
MAX_ERROR_LIFETIME = 3600  # "up to an hour"

_MAX_AGE = re.compile(r'(?:^|[,\s])max-age\s*=\s*"?(\d{1,10})', re.ASCII | re.IGNORECASE)
_UNCACHED = re.compile(r"(?:^|[,\s])no-(?:store|cache)(?:$|[,\s=])", re.IGNORECASE)


class InvalidWellKnown(ValueError):
    """The answer delegates nothing: discovery goes on as if there were none."""


@frozen
class Freshness:
    """The headers of an answer that speak of its age, as text; empty where they are missing."""

    cache_control: str = ""
    expires: str = ""
    age: str = ""

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> "Freshness":
        """From a mapping that knows no case."""
        return cls(headers.get("Cache-Control", ""), headers.get("Expires", ""), headers.get("Age", ""))


def url_of(hostname: str) -> str:
    """Where a host says who serves it."""
    return f"https://{hostname}/.well-known/matrix/server"


def parse(body: bytes) -> str:
    """The server that the answer delegates to. The content type is not looked at, as the specification says."""
    if len(body) > MAX_BYTES:
        raise InvalidWellKnown("the answer is too long")
    try:
        answer = canonical_json.decode_lenient(body)
    except canonical_json.NotCanonical as error:
        raise InvalidWellKnown("the answer is not JSON") from error
    name = answer.get("m.server") if isinstance(answer, dict) else None
    if not isinstance(name, str) or not is_server_name(name):
        raise InvalidWellKnown("the answer has no m.server, or one that is not a server name")
    return name


def redirected(url: str, location: str, followed: int) -> str:
    """Where to ask next after a 30x; `followed` counts the redirects before this one."""
    if followed >= MAX_REDIRECTS:
        raise InvalidWellKnown("too many redirects")
    if len(location) > MAX_URL:
        raise InvalidWellKnown("the redirect leads to an overlong URL")
    try:
        target = urljoin(url, location)
        parts = urlsplit(target)
        good = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise InvalidWellKnown("the redirect leads to no URL") from error
    if not good or parts.username is not None:
        raise InvalidWellKnown("the redirect does not lead to an https URL")
    return target


def lifetime(freshness: Freshness, now: float) -> int:
    """Seconds to believe a good answer. Cache-Control outranks Expires [RFC 9111 section 4.2.1]."""
    return max(MIN_LIFETIME, min(MAX_LIFETIME, _told(freshness, now)))


def error_lifetime(failures: int) -> int:
    """Seconds to remember the `failures`th failure in a row."""
    doublings = min(max(failures - 1, 0), 16)
    return min(MAX_ERROR_LIFETIME, FIRST_ERROR_LIFETIME << doublings)


def _told(freshness: Freshness, now: float) -> int:
    if _UNCACHED.search(freshness.cache_control):
        return 0
    max_age = _MAX_AGE.search(freshness.cache_control)
    if max_age is not None:
        return int(max_age[1]) - _seconds(freshness.age)
    if freshness.expires:
        return _until(freshness.expires, now)
    return DEFAULT_LIFETIME


def _seconds(text: str) -> int:
    return int(text) if re.fullmatch(r"\d{1,10}", text, re.ASCII) else 0


def _until(expires: str, now: float) -> int:
    """Seconds until an HTTP date; a date that cannot be read, "0" above all, has passed [RFC 9111 section 5.3]."""
    try:
        moment = parsedate_to_datetime(expires)
    except (ValueError, OverflowError):
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int((moment - datetime.fromtimestamp(now, UTC)).total_seconds())
