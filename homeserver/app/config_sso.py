"""Section of the configuration about single sign-on: login services that vouch for people."""

import re
from typing import Literal

from attrs import Factory, field, frozen

from homeserver.app.config_fields import option, texts
from homeserver.core.sso import is_client_url

_NAME = re.compile(r"[A-Za-z0-9._~-]{1,255}")  # [cs "m.login.sso flow schema"]


def _name(value: str) -> str | None:
    return None if value == "" or _NAME.fullmatch(value) else "must be letters, digits and . _ ~ -"


def _url(value: str) -> str | None:
    good = value == "" or (
        value.startswith(("http://", "https://")) and is_client_url(value) and "?" not in value
    )
    return None if good else "must be an http or https URL without a query"


def _icon(value: str) -> str | None:
    return None if value == "" or value.startswith("mxc://") else "must be an mxc URI"


def _clients(value: list[str]) -> str | None:
    return (
        None if all(map(is_client_url, value)) else "must be URLs of clients, as in https://app.example.org/"
    )


@frozen
class SsoProvider:
    id: str = option("", "Short name in URLs and in the database. It can never be changed.", _name)
    name: str = option("", "What people see. Empty: the id.")
    kind: Literal["oidc", "cas"] = option("oidc", "OpenID Connect, or CAS.")
    url: str = option(
        "",
        "The issuer of OpenID Connect, exactly; or the CAS server, as in https://cas.example.org/cas.",
        _url,
    )
    icon: str = option("", "An image (mxc URI) that clients may show.", _icon)
    brand: str = option("", "What clients may know it by, as in google, github or org.example.brand.", _name)
    client_id: str = option(
        "", "What we are called there. Redirect URI: public_baseurl, then /_matrix/homing/sso/callback."
    )
    client_secret_file: str = option(
        "", "File with our secret. Relative to the data folder. Empty: a public client."
    )
    scopes: str = option("openid profile", "What is asked of OpenID Connect; openid must be among it.")
    validate: Literal["p3/serviceValidate", "serviceValidate", "proxyValidate"] = option(
        "p3/serviceValidate", "Where CAS is asked about tickets: the first needs CAS 3."
    )
    localpart: str = option(
        "",
        "Attribute that user names are made of. Empty: preferred_username of OpenID Connect, the user of CAS.",
    )
    display_name: str = option(
        "", "Attribute with the name of a new account. Empty: name; displayName of CAS."
    )
    existing_accounts: bool = option(
        False,
        "Who logs in takes over an account of the same name. Only where people cannot choose their names there.",
    )
    new_accounts: bool = option(True, "Who logs in for the first time gets an account.")


def _providers(value: list[SsoProvider]) -> str | None:
    used = [one for one in value if one != SsoProvider()]  # as in the sample: nothing is said
    ids = [one.id for one in used]
    if "" in ids or len(set(ids)) < len(ids):
        return "each must have an id of its own"
    if not all(one.url for one in used):
        return "each must have a url"
    if any(one.kind == "oidc" and not one.client_id for one in used):
        return "each of kind oidc must have a client_id"
    return None


@frozen
class Sso:
    clients: list[str] = texts(
        "Web clients and apps that browsers return to without a question, as in https://app.example.org/.",
        _clients,
    )
    providers: list[SsoProvider] = field(
        default=Factory(list),
        metadata={
            "doc": "Login services. People are asked which, where there are several.",
            "check": _providers,
        },
    )
