"""Registrations of application services: from what their files hold, or with all that is wrong [as "Registration"].

What is refused is told with the path of the faulty entry: operators write these files, or get them from bridges.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import re2

from homeserver.core.application_services import (
    ApplicationService,
    Namespace,
    Namespaces,
    Proxied,
    Tokens,
    Wants,
)
from homeserver.core.ids import is_localpart

_QUIET = re2.Options()
_QUIET.log_errors = False
_NAMES = ("users", "aliases", "rooms")
_RE2 = "look-around and back-references are not to be had, as they may take for ever"


class RegistrationFaults(Exception):
    """What is wrong with a registration, one sentence each."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def registration(document: Any, server_name: str) -> ApplicationService:
    """A service from what its registration file holds. Raises RegistrationFaults with all that is wrong."""
    if not isinstance(document, Mapping):
        raise RegistrationFaults(["the file must hold a mapping with id, url, as_token and so on"])
    faults: list[str] = []
    sender = _text(document, "sender_localpart", faults)
    if sender and not is_localpart(sender, server_name):
        faults.append(f"sender_localpart: {sender!r} is no name that a user can have")
    tokens = Tokens(_token(document, "hs_token", faults), _token(document, "as_token", faults))
    made = ApplicationService(
        _text(document, "id", faults),
        _url(document, faults),
        tokens,
        f"@{sender}:{server_name}",
        _namespaces(document, faults),
        _wants(document, faults),
    )
    if faults:
        raise RegistrationFaults(faults)
    return made


def clashes(services: Iterable[tuple[str, ApplicationService]]) -> list[str]:
    """What services of different files must not share [as "Registration"]: (where from, which)."""
    seen: dict[tuple[str, str], str] = {}
    found = []
    for place, service in services:
        unique = (
            ("id", service.id),
            ("as_token", service.tokens.theirs),
            ("sender_localpart", service.sender),
        )
        for name, value in unique:
            if (name, value) in seen:
                shown = "" if name == "as_token" else f" {value!r}"
                found.append(f"{place}: {name}{shown} is that of {seen[name, value]} too")
            seen.setdefault((name, value), place)
    return found


def _wants(document: Mapping[Any, Any], faults: list[str]) -> Wants:
    old_names = _flag(document, "de.sorunome.msc2409.push_ephemeral", faults)
    ephemeral = _flag(document, "receive_ephemeral", faults) or old_names
    protocols = document.get("protocols") or []
    if not isinstance(protocols, list) or not all(isinstance(one, str) for one in protocols):
        faults.append("protocols: must be a list of strings")
        protocols = []
    return Wants(
        rate_limited=_flag(document, "rate_limited", faults, default=True),
        ephemeral=ephemeral,
        old_names=old_names,
        encryption=_flag(document, "org.matrix.msc3202", faults),
        protocols=tuple(protocols),
        proxied=frozenset(what for what in Proxied if _flag(document, what, faults)),
    )


def _namespaces(document: Mapping[Any, Any], faults: list[str]) -> Namespaces:
    told = document.get("namespaces")
    if not isinstance(told, Mapping):
        faults.append("namespaces: must be there, with any of users, aliases and rooms")
        return Namespaces()
    faults += [
        f"namespaces.{name}: there are {', '.join(_NAMES)} only" for name in told if name not in _NAMES
    ]
    made = [tuple(_each(told.get(name), f"namespaces.{name}", faults)) for name in _NAMES]
    return Namespaces(*made)


def _each(told: Any, path: str, faults: list[str]) -> Iterable[Namespace]:
    if told is not None and not isinstance(told, list):
        faults.append(f"{path}: must be a list")
        return
    for place, entry in enumerate(told or []):
        at = f"{path}[{place}]"
        if not isinstance(entry, Mapping) or not isinstance(entry.get("regex"), str):
            faults.append(f"{at}: must have a regex, in quotes")
        elif not isinstance(entry.get("exclusive"), bool):
            faults.append(f"{at}: exclusive must be true or false")
        else:
            try:
                compiled = re2.compile(entry["regex"], _QUIET)
                whole = re2.compile(f"(?:{entry['regex']})(?s:.*)", _QUIET)
            except re2.error as cause:
                faults.append(f"{at}: {entry['regex']!r} is no RE2 expression ({_why(cause)}); {_RE2}")
                continue
            yield Namespace(entry["regex"], entry["exclusive"], compiled, whole)


def _why(cause: Exception) -> str:
    text = cause.args[0] if cause.args else cause
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)


def _text(document: Mapping[Any, Any], name: str, faults: list[str]) -> str:
    value = document.get(name)
    if isinstance(value, str) and value and "\0" not in value:
        return value
    missing = name not in document
    faults.append(
        f"{name}: is missing" if missing else f"{name}: must be a string that says something, in quotes"
    )
    return ""


def _token(document: Mapping[Any, Any], name: str, faults: list[str]) -> str:
    token = _text(document, name, faults)
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        faults.append(f"{name}: must be of printable ASCII characters, without spaces")
    return token


def _url(document: Mapping[Any, Any], faults: list[str]) -> str:
    url = document.get("url")
    if "url" not in document:
        faults.append("url: is missing; null if nothing is to be pushed")
    elif url is not None and not (
        isinstance(url, str) and (url == "" or url.startswith(("http://", "https://")))
    ):
        faults.append("url: must be an http or https URL, or null if nothing is to be pushed")
    return url.rstrip("/") if isinstance(url, str) else ""


def _flag(document: Mapping[Any, Any], name: str, faults: list[str], *, default: bool = False) -> bool:
    value = document.get(name, default)
    if isinstance(value, bool):
        return value
    if value is not None:
        faults.append(f"{name}: must be true or false")
    return default
