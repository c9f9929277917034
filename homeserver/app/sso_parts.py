"""Single sign-on: how it is connected."""

from client_api.oauth_clients import ROOT
from client_api.service_linking import ServiceLinking
from client_api.sso import SsoApi
from client_api.visits import Visits
from homeserver.app.account_parts import AccountParts
from homeserver.app.config import Config
from homeserver.app.config_sso import SsoProvider
from homeserver.app.foundation import Foundation
from homeserver.app.key_files import secret_of
from homeserver.app.oauth_places import oauth_base_url
from homeserver.services.oauth.web_sessions import WebSessions
from homeserver.services.sso.accounts import Policy
from homeserver.services.sso.cas import Cas
from homeserver.services.sso.links import SsoLinks
from homeserver.services.sso.oidc import Oidc, OurClient
from homeserver.services.sso.providers import Description, Provider
from homeserver.services.sso.sign_on import SignOn
from homeserver.services.sso.trips import Trips, secret_from
from homeserver.web.endpoint import Endpoint


def sign_on(config: Config) -> SignOn:
    """The login services."""
    made: dict[str, tuple[Provider, Policy]] = {}
    for option in config.sso.providers:
        if not option.id:
            continue
        provider, policy = _oidc(config, option) if option.kind == "oidc" else _cas(config, option, made)
        made[option.id] = (provider, policy)
    ours = oauth_base_url(config)
    return SignOn(made, (*config.sso.clients, *((ours + ROOT,) if ours else ())))


def service_linking(config: Config, foundation: Foundation, parts: AccountParts) -> ServiceLinking:
    """How people link login services with their account, on its page."""
    offered = sign_on(config)
    trips = Trips(secret_from(foundation.identity.signer.key), secure=_base_url(config).startswith("https:"))
    logged_in = WebSessions(foundation.database, parts.logins)
    visits = Visits(logged_in, secure=oauth_base_url(config).startswith("https://"))
    return ServiceLinking(offered, SsoLinks(foundation.database, frozenset(offered.providers)), trips, visits)


def sso_endpoints(parts: AccountParts, linking: ServiceLinking) -> list[Endpoint]:
    """Little where there are no login services."""
    offered, trips = linking.sign_on, linking.trips
    return SsoApi(offered, parts.sso, parts.logins, parts.interactive_auth, trips, linking).endpoints()


def _oidc(config: Config, option: SsoProvider) -> tuple[Provider, Policy]:
    policy = _policy(option, "preferred_username", "name")
    us = OurClient(
        option.client_id,
        secret_of(config, option.client_secret_file),
        tuple(option.scopes.split()),
        _base_url(config),
    )
    wanted = (policy.localpart, policy.display_name)
    return Oidc(_description(option), option.url, us, wanted), policy


def _cas(
    config: Config, option: SsoProvider, before: dict[str, tuple[Provider, Policy]]
) -> tuple[Provider, Policy]:
    first = not any(isinstance(one, Cas) for one, _ in before.values())
    url = option.url.rstrip("/")
    provider = Cas(_description(option), url, _base_url(config), option.validate, first)
    return provider, _policy(option, "user", "displayName")


def _policy(option: SsoProvider, localpart: str, display_name: str) -> Policy:
    return Policy(
        provider=option.id,
        localpart=option.localpart or localpart,
        display_name=option.display_name or display_name,
        existing_accounts=option.existing_accounts,
        new_accounts=option.new_accounts,
    )


def _description(option: SsoProvider) -> Description:
    return Description(id=option.id, name=option.name or option.id, icon=option.icon, brand=option.brand)


def _base_url(config: Config) -> str:
    """Where browsers reach us."""
    told = config.server.public_baseurl or config.well_known.client_base_url
    return (told or f"http://{config.server.listen}").rstrip("/")
