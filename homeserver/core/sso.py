"""Names of people who log in elsewhere, and where browsers may go with a login token [cs "SSO client login"]."""

import re
from collections.abc import Iterable
from urllib.parse import urlencode, urlsplit, urlunsplit

MAX_URL = 2_000
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
# What a browser would run or show in our name, not hand to an app.
_NO_CLIENTS = frozenset(
    "about blob chrome data file filesystem ftp javascript jar mailto resource view-source vbscript ws wss".split()
)
_PLAIN = re.compile(r"[a-z0-9._/-]")
_TOKEN = "loginToken"


def localpart_of(name: str) -> str:
    """The name in the letters of user ids, the others as =xx [appendices "Mapping from other character sets"]."""
    octets = name.strip().lower().encode()
    return "".join(chr(one) if _PLAIN.fullmatch(chr(one)) else f"={one:02x}" for one in octets)


def is_client_url(url: str) -> bool:
    """Can a client be there: a web page, or an app with a scheme of its own?"""
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return False
    try:
        parts = urlsplit(url)
        host, user = parts.hostname, parts.username
    except ValueError:
        return False
    scheme = url.partition(":")[0].lower()
    if not _SCHEME.fullmatch(scheme) or scheme != parts.scheme or scheme in _NO_CLIENTS:
        return False
    return bool(host) and user is None if scheme in ("http", "https") else True


def with_login_token(url: str, token: str) -> str:
    """Where the browser goes: the client's URL, whose own parameters stay, but for a token of somebody else's."""
    parts = urlsplit(url)
    kept = [pair for pair in parts.query.split("&") if pair and pair.partition("=")[0] != _TOKEN]
    query = "&".join([*kept, urlencode({_TOKEN: token})])
    return urlunsplit(parts._replace(query=query))


def is_among(url: str, allowed: Iterable[str]) -> bool:
    """Is the URL below one that the operator knows? Hosts are compared whole: no longer name passes for one."""
    wanted = urlsplit(url)
    for known in map(urlsplit, allowed):
        same = (wanted.scheme, wanted.netloc.lower()) == (known.scheme, known.netloc.lower())
        beginning = known.path or ("/" if known.netloc else "")
        path = wanted.path or ("/" if wanted.netloc else "")
        below = path == beginning or path.startswith(beginning.rstrip("/") + "/")
        if same and below and ".." not in path.split("/"):
            return True
    return False


def shown_place(url: str) -> str:
    """What people are asked about: the host, or the app's scheme."""
    parts = urlsplit(url)
    return parts.netloc if parts.scheme in ("http", "https") else f"{parts.scheme}:"
