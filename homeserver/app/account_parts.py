"""The parts that are about people and their sessions, connected: accounts, logins, interactive authentication."""

from collections.abc import Sequence

from attrs import frozen

from homeserver.app.address_parts import AddressParts, address_parts
from homeserver.app.config import Config
from homeserver.app.foundation import Foundation
from homeserver.app.oauth_places import confirmed_elsewhere
from homeserver.app.peer_parts import PeerParts
from homeserver.core.application_services import ApplicationServices
from homeserver.services.access_tokens import AccessTokens
from homeserver.services.addresses.stages import RECAPTCHA, TERMS
from homeserver.services.auth_stages import DummyStage, PasswordStage, RegistrationTokenStage
from homeserver.services.device_lists import DeviceLists
from homeserver.services.interactive_auth import InteractiveAuth, Stage, as_asked
from homeserver.services.logins import Logins
from homeserver.services.passwords import Attempts, PasswordCheck, PasswordHasher, PasswordSettings
from homeserver.services.registration import Registration, RegistrationRules
from homeserver.services.sessions import Lifetimes, Sessions
from homeserver.services.sso.accounts import SsoAccounts
from homeserver.web.rate_limit import RateLimiter


@frozen
class AccountParts:
    """What `assemble` hands on from here."""

    interactive_auth: InteractiveAuth
    sessions: Sessions
    registration: Registration
    logins: Logins
    device_lists: DeviceLists
    addresses: AddressParts
    services: ApplicationServices
    sso: SsoAccounts


def account_parts(
    config: Config,
    foundation: Foundation,
    limiter: RateLimiter,
    access_tokens: AccessTokens,
    *,
    peers: PeerParts,
    services: ApplicationServices,
) -> AccountParts:
    """The services, connected."""
    database, server_name = foundation.database, config.server.name
    hasher = PasswordHasher(password_settings(config))
    attempts = Attempts(
        count=lambda user_id: limiter.check("login", user_id),
        forgive=lambda user_id: limiter.forget("login", user_id),
    )
    passwords = PasswordCheck(database, hasher, attempts)
    addresses = address_parts(config, foundation, peers)
    stages: Sequence[Stage] = (
        DummyStage(),
        PasswordStage(database, passwords, server_name),
        RegistrationTokenStage(database),
        *addresses.stages,
        *confirmed_elsewhere(config),
    )
    device_lists = DeviceLists(database, foundation.committer, foundation.room_servers, server_name)
    lifetimes = Lifetimes(config.sessions.access_token_lifetime, config.sessions.refresh_token_lifetime)
    registration = Registration(
        database, foundation.state_keys, hasher, server_name, registration_rules(config)
    )
    sso = SsoAccounts(database, registration, services.check_user)
    proofs = sso.flows if config.sso.providers else as_asked
    return AccountParts(
        InteractiveAuth(
            database,
            {stage.type: stage for stage in stages},
            proofs=proofs,
            unasked=frozenset({RECAPTCHA}),
        ),
        Sessions(database, access_tokens, device_lists, lifetimes),
        registration,
        Logins(database, passwords, server_name),
        device_lists,
        addresses,
        services,
        sso,
    )


def password_settings(config: Config) -> PasswordSettings:
    """How the operator wants passwords to be kept."""
    return PasswordSettings(
        memory_kib=config.passwords.argon2_memory_kib,
        passes=config.passwords.argon2_passes,
        minimum_length=config.passwords.minimum_length,
    )


def registration_rules(config: Config) -> RegistrationRules:
    """Who may have an account."""
    return RegistrationRules(
        open=config.registration.open,
        tokens_required=config.registration.tokens_required,
        guests=config.registration.guests,
        before=(
            *((RECAPTCHA,) if config.captcha.public_key and config.captcha.required else ()),
            *((TERMS,) if config.terms.url else ()),
        ),
        email=bool(config.email.smtp_host),
        email_required=config.email.required,
    )
