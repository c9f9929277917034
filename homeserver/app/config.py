"""Everything an operator may set: one class a section, one documented field an option.

This is the only definition. `config_file` reads a TOML file into it, `config_docs` writes the sample file and
`docs/config.md` from it, and the command line overrides single options of it.
"""

from ipaddress import ip_network
from pathlib import Path
from typing import Literal

from attrs import Factory, field, frozen

from homeserver.app.config_experimental import Experimental
from homeserver.app.config_fields import Check, option, section, texts
from homeserver.app.config_people import Captcha, Email, IdentityServers, OAuth, ServerNotices, Terms, Turn
from homeserver.app.config_sso import Sso
from homeserver.core.ids import is_room_id, is_server_name
from homeserver.core.room_versions import ROOM_VERSIONS


def _at_least(least: float) -> Check:
    return lambda value: None if value >= least else f"must be at least {least}"


def _url(value: str) -> str | None:
    good = value == "" or value.startswith(("http://", "https://"))
    return None if good else "must be an http or https URL"


def _address(value: str) -> str | None:
    host, _, port = value.rpartition(":")
    good = host and port.isdecimal() and int(port) < 65536
    return None if good else "must be HOST:PORT, as in 127.0.0.1:8008 or [::1]:8008"


def _address_or_none(value: str) -> str | None:
    return None if value == "" else _address(value)


def _networks(value: list[str]) -> str | None:
    try:
        for network in value:
            ip_network(network)
    except ValueError as fault:
        return f"must be networks as in 10.0.0.0/8 or fd00::/8 ({fault})"
    return None


def _server_names(value: list[str]) -> str | None:
    return None if all(map(is_server_name, value)) else "must be server names, as in matrix.org"


def _server_name(value: str) -> str | None:
    good = is_server_name(value)
    return (
        None if good else "must be a host name, without scheme or path, as in example.org or localhost:8008"
    )


def _room_ids(value: list[str]) -> str | None:
    return None if all(map(is_room_id, value)) else "must be ids of rooms, which begin with !"


def _room_version(value: str) -> str | None:
    return None if value in ROOM_VERSIONS else f"must be one of {', '.join(ROOM_VERSIONS)}"


@frozen
class Server:
    name: str = option(
        "localhost",
        "The name after the colon in user ids. It can never be changed once accounts exist.",
        _server_name,
    )
    listen: str = option(
        "127.0.0.1:8008", "Address and port for HTTP. A reverse proxy in front of it adds TLS.", _address
    )
    public_baseurl: str = option(
        "",
        "Where clients reach the server, as in https://matrix.example.org. Empty: the listen address.",
        _url,
    )
    data: str = option(
        "data",
        "Folder of keys, secrets, media and the embedded database; relative to where the server starts.",
    )

    @property
    def folder(self) -> Path:
        return Path(self.data).absolute()


@frozen
class Database:
    url: str = option(
        "",
        "postgresql://USER:PASSWORD@HOST/DATABASE. Empty: a PostgreSQL of the server's own in the data folder.",
    )
    writers: int = option(10, "Connections for writing, at most.", _at_least(2))
    readers: int = option(20, "Connections for reading, at most.", _at_least(2))
    acquire_timeout: float = option(
        10.0, "Seconds a request waits for a free connection before it is answered with 503.", _at_least(0.1)
    )
    statement_timeout: float = option(60.0, "Seconds a statement may take.", _at_least(1))
    shared_buffers: str = option("128MB", "Cache of the embedded PostgreSQL (its own setting of this name).")


@frozen
class Registration:
    open: bool = option(False, "Anybody may create an account.")
    tokens_required: bool = option(False, "Only with a registration token, also when registration is open.")
    guests: bool = option(False, "Guests may enter rooms that allow them.")
    shared_secret_file: str = option(
        "registration_secret",
        "File with the secret by which tools create accounts; made at the first start. Relative to the data folder.",
    )


@frozen
class Bucket:
    """So many actions at once, then so many a second."""

    per_second: float = option(1.0, "Actions a second in the long run.", _at_least(0.001))
    burst: int = option(10, "Actions at once after a pause.", _at_least(1))


def _bucket(per_second: float, burst: int, doc: str) -> Bucket:
    made: Bucket = field(
        default=Bucket(per_second=per_second, burst=burst), metadata={"doc": doc, "check": None}
    )
    return made


@frozen
class RateLimits:
    enabled: bool = option(True, "Off only for tests and trusted networks.")
    message: Bucket = _bucket(10.0, 50, "Events sent by one user.")
    join: Bucket = _bucket(1.0, 20, "Rooms joined or knocked on by one user.")
    invite: Bucket = _bucket(0.5, 20, "Invitations sent by one user.")
    create_room: Bucket = _bucket(0.2, 10, "Rooms created by one user.")
    login: Bucket = _bucket(0.2, 10, "Attempts to log in, an address and an account.")
    registration: Bucket = _bucket(0.2, 10, "Accounts registered from one address.")
    delayed_event: Bucket = _bucket(
        20.0, 200, "Delayed events put off, called off or looked up by one user or address."
    )
    other: Bucket = _bucket(50.0, 200, "Any other limited request by one user.")


@frozen
class Passwords:
    argon2_memory_kib: int = option(19456, "Memory to hash one password (Argon2id).", _at_least(8))
    argon2_passes: int = option(2, "Passes over that memory.", _at_least(1))
    minimum_length: int = option(8, "Shortest password that may be set.", _at_least(1))


@frozen
class Sessions:
    access_token_lifetime: int = option(
        0, "Seconds an access token lives when the client can refresh it. 0: for ever.", _at_least(0)
    )
    refresh_token_lifetime: int = option(
        0, "Seconds an unused refresh token lives. 0: for ever.", _at_least(0)
    )


@frozen
class Rooms:
    default_version: str = option("12", "Room version of new rooms.", _room_version)
    public_list: bool = option(True, "Users may publish rooms in the room directory.")
    policy_rooms: list[str] = texts(
        "Ids of rooms with policy lists to heed: whom they ban cannot invite, what they ban cannot be entered. "
        "Somebody of this server must be in them.",
        _room_ids,
    )


@frozen
class Limits:
    request_bytes: int = option(
        1_048_576, "Largest body of a request that carries no file.", _at_least(65_536)
    )
    sync_timeout: int = option(300, "Seconds a client may wait in one sync, at most.", _at_least(0))
    delayed_events: int = option(
        100, "Events that one user may schedule to be sent later, at once. 0: none.", _at_least(0)
    )
    event_delay: int = option(
        86_400, "Seconds by which an event may be delayed, at most; calls use some.", _at_least(1)
    )
    page: int = option(1000, "Events, rooms or users in one answer, at most.", _at_least(10))


@frozen
class Caches:
    memory_mib: int = option(
        64,
        "Memory for events kept parsed, in each process; the rest of the server takes about 80.",
        _at_least(16),
    )


@frozen
class Contact:
    """Somebody to turn to [cs "Server administration contact details"]."""

    role: Literal["m.role.admin", "m.role.security"] = option("m.role.admin", "What the contact is for.")
    matrix_id: str = option("", "Matrix id of the contact.")
    email_address: str = option("", "E-mail address of the contact.")


@frozen
class WellKnown:
    client_base_url: str = option(
        "", "Answer of /.well-known/matrix/client. Empty: server.public_baseurl; neither: no answer.", _url
    )
    server: str = option(
        "",
        "Answer of /.well-known/matrix/server: HOST:PORT where other servers reach this one. Empty: no answer.",
    )
    support_page: str = option("", "Page for users who need help.", _url)
    contacts: list[Contact] = field(
        default=Factory(list),
        metadata={"doc": "Whom users and other servers may ask for help.", "check": None},
    )


@frozen
class Federation:
    enabled: bool = option(True, "Share rooms with other servers.")
    listen: str = option(
        "",
        "Address and port for other servers, as in [::]:8448. Empty: they come through the proxy to server.listen.",
        _address_or_none,
    )
    tls_certificate: str = option(
        "",
        "PEM file with the certificate and its chain for federation.listen; read again when it changes. "
        "Relative to the data folder. Empty: no TLS there, a proxy adds it.",
    )
    tls_key: str = option("", "PEM file with the certificate's private key. Relative to the data folder.")
    certificate_authorities: str = option(
        "",
        "PEM file with authorities to trust besides the system's. Relative to the data folder.",
    )
    verify_certificates: bool = option(
        True, "Check other servers' certificates. Off only for tests: anybody could pose as any server."
    )
    allowed_networks: list[str] = texts(
        "Networks that are not public and may be reached all the same, as in 10.0.0.0/8.", _networks
    )
    notaries: list[str] = texts(
        "Servers to be believed about the keys of servers that cannot be asked any more, as in matrix.org.",
        _server_names,
    )
    allowed_servers: list[str] = texts(
        "The only servers to federate with; * and ? match any characters. Empty: all."
    )
    denied_servers: list[str] = texts("Servers not to federate with; * and ? match any characters.")
    connections: int = option(400, "Connections to other servers at once, at most.", _at_least(10))
    first_retry: float = option(
        1.0,
        "Seconds until a server that failed is tried again; three times as long each time.",
        _at_least(0.01),
    )
    longest_retry: float = option(
        86_400.0,
        "Seconds between two tries, at most. A server that speaks to us is tried at once.",
        _at_least(1),
    )


@frozen
class Media:
    upload_bytes: int = option(104_857_600, "Largest file that may be uploaded.", _at_least(1024))
    remote_bytes: int = option(
        104_857_600, "Largest file that is fetched from another server.", _at_least(1024)
    )
    cache_bytes: int = option(
        10_737_418_240,
        "Copies of other servers' media that are kept, in all. Those go first that nobody wanted for longest.",
        _at_least(0),
    )
    user_bytes: int = option(0, "Bytes that one user may upload, in all. 0: no limit.", _at_least(0))
    user_files: int = option(0, "Files that one user may upload, in all. 0: no limit.", _at_least(0))
    pending_uploads: int = option(20, "Uploads one user may announce before the files come.", _at_least(1))
    pending_lifetime: int = option(86_400, "Seconds an announced upload may take to come.", _at_least(60))
    unauthenticated: bool = option(
        False,
        "Files that come while this is on can be had without an access token, for ever: for very old clients.",
    )
    thumbnail_pixels: int = option(
        32_000_000, "Largest image, width times height, that thumbnails are made of.", _at_least(10_000)
    )
    thumbnail_seconds: float = option(20.0, "Seconds to make one thumbnail, at most.", _at_least(0.1))
    thumbnail_processes: int = option(1, "Processes that make thumbnails at once, at most.", _at_least(1))


@frozen
class UrlPreviews:
    enabled: bool = option(
        False, "Tell clients what linked web pages say about themselves. The server then asks those pages."
    )
    allowed_hosts: list[str] = texts("The only hosts to ask; * and ? match any characters. Empty: all.")
    denied_hosts: list[str] = texts("Hosts not to ask; * and ? match any characters.")
    allowed_networks: list[str] = texts(
        "Networks that are not public and may be asked all the same, as in 10.0.0.0/8.", _networks
    )
    image_bytes: int = option(5_242_880, "Largest image that is copied for a preview.", _at_least(0))


@frozen
class Push:
    allowed_networks: list[str] = texts(
        "Networks that are not public and may have push gateways all the same, as in 10.0.0.0/8.", _networks
    )
    certificate_authorities: str = option(
        "",
        "File with certificate authorities that push gateways and web push services may have, besides those the "
        "machine trusts. Relative to the data folder.",
    )
    mentions_in_text: bool = option(
        False,
        "Who is named in what a message says is notified as if mentioned, unless the message says itself whom it "
        "mentions: for people with very old clients. Adds the three push rules that did so until v1.16.",
    )
    mail_delay: float = option(
        600.0, "Seconds for which something has to stay unread before a mail tells of it.", _at_least(0)
    )


@frozen
class ApplicationServices:
    files: list[str] = texts(
        "Registration files (YAML) of bridges and other application services. Relative to the data folder."
    )
    query_seconds: float = option(
        15.0, "Seconds that a client waits for a service that is asked something, at most.", _at_least(0.1)
    )


@frozen
class Logging:
    level: Literal["debug", "info", "warning", "error"] = option("info", "What is logged: this and graver.")
    format: Literal["console", "json"] = option("console", "Lines for people, or one JSON object a line.")


@frozen
class Metrics:
    enabled: bool = option(
        True, "Serve Prometheus metrics at /metrics. Do not pass that path on in the proxy."
    )


@frozen
class Config:
    """The whole configuration."""

    server: Server = section(Server, "Who the server is and where it listens.")
    database: Database = section(Database, "PostgreSQL.")
    registration: Registration = section(Registration, "Who may create accounts.")
    passwords: Passwords = section(Passwords, "How passwords are kept.")
    sessions: Sessions = section(Sessions, "How long logins last.")
    oauth: OAuth = section(OAuth, "OAuth 2.0: logins by pages of this server.")
    rate_limits: RateLimits = section(RateLimits, "How often one user or address may do what.")
    rooms: Rooms = section(Rooms, "What rooms are like.")
    limits: Limits = section(Limits, "Sizes and times that protect the server.")
    caches: Caches = section(Caches, "Memory.")
    well_known: WellKnown = section(WellKnown, "What others may learn about the server before they use it.")
    federation: Federation = section(Federation, "Other servers.")
    email: Email = section(Email, "Mails to users: confirmation of addresses, passwords that were forgotten.")
    sso: Sso = section(Sso, "Single sign-on: login services that vouch for people.")
    identity_servers: IdentityServers = section(
        IdentityServers, "Services that know people by their addresses."
    )
    terms: Terms = section(Terms, "What people must agree to before they have an account.")
    captcha: Captcha = section(Captcha, "Proof of being human, before somebody has an account.")
    turn: Turn = section(Turn, "Relays for calls.")
    server_notices: ServerNotices = section(ServerNotices, "What the operator tells users, each in a room.")
    media: Media = section(Media, "Files that users upload, and copies of other servers' files.")
    url_previews: UrlPreviews = section(UrlPreviews, "Previews of web pages that users link to.")
    push: Push = section(Push, "Notifications on phones, by the push gateways of their apps.")
    application_services: ApplicationServices = section(
        ApplicationServices, "Bridges and bots: programs with users and rooms of their own."
    )
    logging: Logging = section(Logging, "The log, on standard error.")
    metrics: Metrics = section(Metrics, "Numbers for monitoring.")
    experimental: Experimental = section(Experimental, "Proposals that are no part of the specification yet.")
