"""Sections of the configuration about people: how they are reached, and what is asked of them."""

from email.utils import parseaddr
from typing import Literal

from attrs import frozen

from homeserver.app.config_fields import option, texts
from homeserver.core.ids import is_server_name


def _from_address(value: str) -> str | None:
    good = "@" in parseaddr(value)[1]
    return None if good else "must be an address, as in Example <noreply@example.org>"


def _url(value: str) -> str | None:
    good = value == "" or value.startswith(("http://", "https://"))
    return None if good else "must be an http or https URL"


def _port(value: int) -> str | None:
    return None if 0 < value < 65_536 else "must be a port"


def _seconds(value: int) -> str | None:
    return None if value >= 30 else "must be at least 30"


def _turn_uris(value: list[str]) -> str | None:
    good = all(uri.startswith(("turn:", "turns:", "stun:", "stuns:")) for uri in value)
    return None if good else "must be URIs as in turn:turn.example.org?transport=udp"


def _servers(value: list[str]) -> str | None:
    return None if all(map(is_server_name, value)) else "must be host names, as in vector.im"


@frozen
class Email:
    smtp_host: str = option("", "Server that takes our mails. Empty: no mails are sent.")
    smtp_port: int = option(587, "Its port.", _port)
    encryption: Literal["starttls", "tls", "none"] = option(
        "starttls", "How the connection to it is protected."
    )
    verify_certificate: bool = option(True, "Check its certificate. Off only for tests.")
    username: str = option("", "Name to log in with. Empty: without a login.")
    password_file: str = option("", "File with the password. Relative to the data folder.")
    sender: str = option("Homing <noreply@localhost>", "From whom mails are.", _from_address)
    required: bool = option(False, "Nobody has an account without a confirmed address.")
    confirm_by_link: bool = option(
        False,
        "Opening a link confirms an address. Off: a button must be pressed, as programs that look at mails open links.",
    )


@frozen
class IdentityServers:
    trusted: list[str] = texts(
        "Identity servers that users may use through this server, as in vector.im. Empty: none.", _servers
    )


@frozen
class OAuth:
    enabled: bool = option(
        True,
        "Applications may have people log in, and manage their account, on pages of this server. "
        "Needs server.public_baseurl, unless the server is called localhost.",
    )
    access_token_lifetime: int = option(
        3600, "Seconds until an application must refresh its access token.", _seconds
    )


@frozen
class Terms:
    url: str = option("", "Page with the terms. Empty: none to agree to.", _url)
    name: str = option("Terms of service", "What they are called.")
    version: str = option("1.0", "Their version: accounts made from now on agree to this one.")


@frozen
class Captcha:
    public_key: str = option("", "Site key. Empty: no captcha.")
    private_key_file: str = option("", "File with the secret key. Relative to the data folder.")
    verify_url: str = option(
        "https://www.google.com/recaptcha/api/siteverify", "Where answers are checked.", _url
    )
    required: bool = option(
        True, "Nobody gets an account without it. If not, it is known, but not asked for."
    )


@frozen
class Turn:
    uris: list[str] = texts("Relays, as in turn:turn.example.org?transport=udp. Empty: none.", _turn_uris)
    shared_secret_file: str = option(
        "", "File with the secret that the relays know too. Relative to the data folder."
    )
    lifetime: int = option(86_400, "Seconds for which credentials are good.")
    guests: bool = option(True, "Guests may use the relays.")


@frozen
class ServerNotices:
    localpart: str = option("notices", "The user that speaks; made when it first does.")
    display_name: str = option("Server notices", "Its name.")
    room_name: str = option("Server notices", "Name of the rooms.")
