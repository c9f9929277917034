"""What a client says of itself when it registers [cs "Client metadata"], and where it may be sent back to."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from attrs import asdict, evolve, frozen

from homeserver.core.oauth.errors import OAuthError

CODE, REFRESH = "authorization_code", "refresh_token"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
GRANT_TYPES = (CODE, REFRESH, DEVICE_CODE)
MAX_URI, MAX_NAME, MAX_REDIRECTS = 2048, 100, 20

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SHOWN = ("logo_uri", "tos_uri", "policy_uri")


@frozen(kw_only=True)
class ClientMetadata:
    """A client as it is registered: what it said, without what we do not understand."""

    client_uri: str
    client_name: str = ""
    logo_uri: str = ""
    tos_uri: str = ""
    policy_uri: str = ""
    redirect_uris: tuple[str, ...] = ()
    response_types: tuple[str, ...] = ()
    grant_types: tuple[str, ...] = ()
    application_type: str = "web"
    token_endpoint_auth_method: str = "none"

    @property
    def name(self) -> str:
        """What people are told that it is."""
        return self.client_name or self.host

    @property
    def host(self) -> str:
        """Where it is at home: all that is known of it for sure."""
        return urlsplit(self.client_uri).hostname or ""

    def as_json(self) -> dict[str, Any]:
        """The registered values, without those that were not given."""
        values = asdict(self)
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if value
        }

    def accepts(self, redirect_uri: str) -> bool:
        """May its users be sent back to there? On the loopback interface any port is good [RFC 8252 section 7.3]."""
        return redirect_uri in self.redirect_uris or _without_port(redirect_uri) in self.redirect_uris


def registered(values: Mapping[str, Any]) -> ClientMetadata:
    """What `as_json` gave."""
    told: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    return ClientMetadata(**told)


def client_metadata(said: Mapping[str, Any]) -> ClientMetadata:
    """What of a registration counts. Raises OAuthError."""
    for name in ("client_uri", *_SHOWN, "client_name", "application_type", "token_endpoint_auth_method"):
        if not isinstance(said.get(name, ""), str):
            raise _bad(f"{name} must be a string")
    home = _web_uri("client_uri", said.get("client_uri", ""), home="")
    kind = said.get("application_type", "web")
    if kind not in ("web", "native"):
        raise _bad("application_type must be web or native")
    if said.get("token_endpoint_auth_method", "none") != "none":
        raise _bad("token_endpoint_auth_method must be none")
    grants = tuple(each for each in GRANT_TYPES if each in _texts(said, "grant_types", [CODE]))
    client = ClientMetadata(
        client_uri=home.geturl(),
        client_name=said.get("client_name", "").replace("\0", "")[:MAX_NAME],
        response_types=("code",) if "code" in _texts(said, "response_types", ["code"]) else (),
        grant_types=grants,
        application_type=kind,
        logo_uri=_shown(said, "logo_uri", home),
        tos_uri=_shown(said, "tos_uri", home),
        policy_uri=_shown(said, "policy_uri", home),
    )
    return evolve(client, redirect_uris=_redirect_uris(said, client))


def _shown(said: Mapping[str, Any], name: str, home: SplitResult) -> str:
    uri = said.get(name, "")
    return _web_uri(name, uri, home=home.hostname or "").geturl() if uri else ""


def _redirect_uris(said: Mapping[str, Any], client: ClientMetadata) -> tuple[str, ...]:
    uris = _texts(said, "redirect_uris", [])
    if CODE in client.grant_types and client.response_types and not uris:
        raise OAuthError("invalid_redirect_uri", "The authorization code grant needs a redirect URI")
    if len(uris) > MAX_REDIRECTS:
        raise OAuthError("invalid_redirect_uri", f"There may be {MAX_REDIRECTS} redirect URIs")
    for uri in uris:
        if not _may_redirect(uri, client):
            raise OAuthError("invalid_redirect_uri", f"{uri[:255]} is no redirect URI of {client.client_uri}")
    return tuple(uris)


def _may_redirect(uri: str, client: ClientMetadata) -> bool:
    """[cs "Redirect URI validation"]"""
    parts = _split(uri)
    if parts is None or "#" in uri:
        return False
    if parts.scheme == "https":
        return _is_of(parts, client.host)
    if client.application_type != "native":
        return False
    if parts.scheme == "http":
        return parts.hostname in _LOOPBACK and _has_no_port(parts) and "@" not in parts.netloc
    backwards = ".".join(reversed(client.host.split(".")))
    return (
        _begins(parts.scheme, backwards)
        and not parts.netloc
        and not uri[len(parts.scheme) + 1 :].startswith("//")
    )


def _begins(scheme: str, backwards: str) -> bool:
    return scheme == backwards or scheme.startswith(f"{backwards}.")


def _has_no_port(parts: SplitResult) -> bool:
    return not parts.netloc.rpartition("]")[2].partition(":")[1]


def _without_port(uri: str) -> str | None:
    """A URI on the loopback interface as it would have been registered."""
    parts = _split(uri)
    if parts is None or parts.scheme != "http" or parts.hostname not in _LOOPBACK or "@" in parts.netloc:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return parts._replace(netloc=host).geturl()


def _web_uri(name: str, uri: str, *, home: str) -> SplitResult:
    """An https URI, on `home` or below it if that is known."""
    parts = _split(uri)
    if parts is None or parts.scheme != "https" or not _is_of(parts, home or parts.hostname or ""):
        below = f" on {home} or below it" if home else ""
        raise _bad(f"{name} must be an https URI{below}, without user and password")
    return parts


def _is_of(parts: SplitResult, home: str) -> bool:
    host = parts.hostname or ""
    return bool(host) and (host == home or host.endswith(f".{home}")) and "@" not in parts.netloc


def _split(uri: str) -> SplitResult | None:
    """The parts, if this is a URI at all: no spaces, control or other characters that are read in several ways."""
    if not uri.isascii() or not uri.isprintable() or len(uri) > MAX_URI or set(uri) & set(' "\\<>^`{|}'):
        return None
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return None
    return parts if parts.scheme else None


def _texts(said: Mapping[str, Any], name: str, default: list[str]) -> list[str]:
    values = said.get(name, default)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise _bad(f"{name} must be a list of strings")
    return values


def _bad(description: str) -> OAuthError:
    return OAuthError("invalid_client_metadata", description)  # [RFC 7591 section 3.2.2]
