"""What clients may ask about their user and its sessions, and tools about accounts."""

from client_api.account import AccountApi
from client_api.account_data import AccountDataApi
from client_api.account_pages import AccountChanging
from client_api.administrative_contact import AdministrativeContactApi
from client_api.auth_pages import AuthPages
from client_api.capabilities import CapabilitiesApi
from client_api.confirmation_pages import ConfirmationPages
from client_api.device_management import DeviceManagementApi
from client_api.filters import FiltersApi
from client_api.login import LoginApi
from client_api.openid import OpenIDApi
from client_api.profiles import ProfilesApi
from client_api.registration import RegistrationApi
from client_api.tags import TagsApi
from client_api.versions import VersionsApi
from client_api.voip import VoipApi
from client_api.wellknown import WellKnownApi, WellKnownFacts
from homeserver.app.account_parts import AccountParts
from homeserver.app.config import Config, Contact
from homeserver.app.delayed_parts import delay_limits
from homeserver.app.foundation import Foundation
from homeserver.app.key_files import registration_secret, secret_of
from homeserver.app.oauth_parts import oauth_endpoints
from homeserver.app.oauth_places import client_base_url, oauth_base_url
from homeserver.app.operator_api import Nonces, SharedSecretRegistration
from homeserver.app.push_parts import vapid
from homeserver.app.sso_parts import service_linking, sso_endpoints
from homeserver.services.account_changes import AccountChanges
from homeserver.services.account_data import AccountDataStore
from homeserver.services.devices import Devices
from homeserver.services.filters import Filters
from homeserver.services.membership import Memberships
from homeserver.services.oauth.account_proofs import AccountProofs
from homeserver.services.openid import OpenID
from homeserver.services.profiles import Profiles
from homeserver.services.turn import Turn
from homeserver.web.endpoint import Endpoint


def account_endpoints(
    config: Config, foundation: Foundation, parts: AccountParts, memberships: Memberships, profiles: Profiles
) -> list[Endpoint]:
    """Logins first, then what a user keeps here."""
    return [
        *session_endpoints(config, foundation, parts, memberships, profiles),
        *personal_endpoints(foundation, profiles),
        *server_endpoints(config),
    ]


def session_endpoints(
    config: Config, foundation: Foundation, parts: AccountParts, memberships: Memberships, profiles: Profiles
) -> list[Endpoint]:
    """Accounts and their sessions."""
    auth, sessions = parts.interactive_auth, parts.sessions
    changes = AccountChanges(foundation.database, parts.registration.hasher, sessions, memberships.leave_all)
    devices = Devices(foundation.database, sessions, parts.device_lists)
    proofs = AccountProofs(foundation.database, parts.logins.passwords)
    changing = AccountChanging(devices, profiles, changes, parts.addresses.accounts, proofs)
    linking = service_linking(config, foundation, parts)
    return [
        *RegistrationApi(parts.registration, auth, sessions, parts.services).endpoints(),
        *sso_endpoints(parts, linking),
        *LoginApi(
            parts.logins, sessions, auth, client_base_url(config), parts.services, linking.sign_on.flows()
        ).endpoints(),
        *AccountApi(changes, auth, parts.addresses.accounts).endpoints(),
        *oauth_endpoints(config, foundation, parts, changing=changing, linking=linking),
        *AdministrativeContactApi(
            parts.addresses.accounts, parts.addresses.validation, parts.addresses.bindings, auth
        ).endpoints(),
        *ConfirmationPages(
            parts.addresses.validation, config.server.name, config.email.confirm_by_link
        ).endpoints(),
        *AuthPages(auth).endpoints(),
        *DeviceManagementApi(devices, auth).endpoints(),
        *OpenIDApi(OpenID(foundation.database), config.server.name).endpoints(),
        *SharedSecretRegistration(
            parts.registration, sessions, Nonces(foundation.database), registration_secret(config)
        ).endpoints(),
    ]


def personal_endpoints(foundation: Foundation, profiles: Profiles) -> list[Endpoint]:
    """What a user keeps here."""
    store = AccountDataStore(foundation.database, foundation.committer, foundation.predefined)
    return [
        *ProfilesApi(profiles).endpoints(),
        *AccountDataApi(store).endpoints(),
        *TagsApi(store).endpoints(),
        *FiltersApi(Filters(foundation.database)).endpoints(),
    ]


def server_endpoints(config: Config) -> list[Endpoint]:
    """What the server says about itself."""
    facts = WellKnownFacts(
        client_base_url(config),
        config.well_known.server,
        config.well_known.support_page,
        [_contact(contact) for contact in config.well_known.contacts],
    )
    return [
        *VersionsApi(qr_login=bool(oauth_base_url(config))).endpoints(),
        *CapabilitiesApi(
            config.rooms.default_version,
            bool(config.email.smtp_host),
            delay_limits(config),
            vapid(config).public_key,
        ).endpoints(),
        *WellKnownApi(facts).endpoints(),
        *VoipApi(turn(config)).endpoints(),
    ]


def turn(config: Config) -> Turn:
    """The relays, as the operator has set them up."""
    options = config.turn
    return Turn(options.uris, secret_of(config, options.shared_secret_file), options.lifetime, options.guests)


def _contact(contact: Contact) -> dict[str, str]:
    told = {
        "role": contact.role,
        "matrix_id": contact.matrix_id,
        "email_address": contact.email_address,
    }
    return {name: value for name, value in told.items() if value}
