"""OAuth 2.0, connected: what clients ask, and the pages that their users see."""

from client_api.account_pages import AccountChanging, AccountPages
from client_api.authorization_pages import AuthorizationPages
from client_api.device_link_pages import DeviceLinkPages
from client_api.login_forms import LoginForms
from client_api.oauth_clients import LINK, OAuthApi, OAuthFacts
from client_api.rendezvous import RendezvousApi
from client_api.service_linking import ServiceLinking
from homeserver.app.account_parts import AccountParts
from homeserver.app.config import Config
from homeserver.app.foundation import Foundation
from homeserver.app.oauth_places import oauth_base_url
from homeserver.services.oauth.clients import OAuthClients
from homeserver.services.oauth.device_codes import DeviceCodes
from homeserver.services.oauth.tokens import OAuthTokens
from homeserver.services.rendezvous import Rendezvous
from homeserver.services.sessions import Lifetimes, Sessions
from homeserver.web.endpoint import Endpoint


def oauth_endpoints(
    config: Config,
    foundation: Foundation,
    parts: AccountParts,
    *,
    changing: AccountChanging,
    linking: ServiceLinking,
) -> list[Endpoint]:
    """All of it; without a base URL nobody is led to the pages."""
    database, base_url = foundation.database, oauth_base_url(config)
    lifetimes = Lifetimes(config.oauth.access_token_lifetime, config.sessions.refresh_token_lifetime)
    sessions = Sessions(database, parts.sessions.access_tokens, parts.device_lists, lifetimes)
    clients, codes = OAuthClients(database), DeviceCodes(database, base_url + LINK)
    tokens = OAuthTokens(database, clients, codes, sessions)
    visits, elsewhere = linking.visits, linking.sign_on.names
    forms = LoginForms(visits.sessions, parts.registration, parts.interactive_auth, base_url, elsewhere)
    facts = OAuthFacts(base_url, may_create=forms.flow is not None)
    api = OAuthApi(facts, clients, tokens, codes, sessions).endpoints()
    if not base_url:
        return api
    return [
        *api,
        *RendezvousApi(Rendezvous(database), base_url).endpoints(),
        *AuthorizationPages(facts, visits, clients, tokens, forms).endpoints(),
        *DeviceLinkPages(visits, clients, codes, forms).endpoints(),
        *AccountPages(visits, forms, changing, linking).endpoints(),
    ]
