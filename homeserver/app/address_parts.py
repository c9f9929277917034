"""Addresses of accounts, mails, and the stages of registration that go with them: how they are connected."""

from collections.abc import Sequence

from attrs import frozen

from federation.address_bindings import AddressBindings
from federation.address_invites import AddressInvites
from federation.third_party import ThirdPartyInvites
from federation.transport.identity_servers import IdentityServers
from federation.transport.name_servers import SystemNameServers
from homeserver.app.captcha_check import captcha_check
from homeserver.app.config import Config
from homeserver.app.foundation import Foundation
from homeserver.app.key_files import secret_of
from homeserver.app.peer_parts import PeerParts
from homeserver.services.addresses.accounts import AccountAddresses
from homeserver.services.addresses.mailer import Mailer, MailServer
from homeserver.services.addresses.stages import CaptchaStage, EmailStage, TermsStage
from homeserver.services.addresses.validation import AddressValidation
from homeserver.services.interactive_auth import Stage
from homeserver.services.membership import Memberships
from homeserver.services.proposals import Proposals


@frozen
class AddressParts:
    """What `account_parts` hands on."""

    accounts: AccountAddresses
    validation: AddressValidation
    bindings: AddressBindings
    stages: Sequence[Stage]


def address_parts(config: Config, foundation: Foundation, peers: PeerParts) -> AddressParts:
    """Connect them."""
    database, name = foundation.database, config.server.name
    validation = AddressValidation(database, name, pages_url(config), mailer(config))
    servers = IdentityServers(
        peers.requests.outside,
        SystemNameServers(),
        foundation.identity.signer,
        config.identity_servers.trusted,
    )
    bindings = AddressBindings(servers, database)
    accounts = AccountAddresses(database, validation, bindings.unbind)
    return AddressParts(accounts, validation, bindings, stages(config, validation))


def address_invites(
    foundation: Foundation, memberships: Memberships, third_party: ThirdPartyInvites
) -> AddressInvites:
    """Invitations by address."""
    return AddressInvites(third_party.servers, memberships, Proposals(foundation.timeline), third_party)


def pages_url(config: Config) -> str:
    """Where the pages are that mails lead to."""
    base_url = (config.well_known.client_base_url or config.server.public_baseurl).rstrip("/")
    return base_url or f"http://{config.server.listen}"


def mailer(config: Config) -> Mailer | None:
    """What sends mails; None where the operator has named no mail server."""
    options = config.email
    if not options.smtp_host:
        return None
    login = (options.username, secret_of(config, options.password_file)) if options.username else None
    server = MailServer(
        options.smtp_host, options.smtp_port, options.encryption, options.verify_certificate, login
    )
    return Mailer(server, options.sender)


def stages(config: Config, validation: AddressValidation) -> Sequence[Stage]:
    """Those that the operator has set up."""
    found: list[Stage] = []
    if validation.mailer is not None:
        found.append(EmailStage(validation))
    if config.terms.url:
        found.append(TermsStage(config.terms.name, config.terms.version, config.terms.url))
    if config.captcha.public_key:
        secret = secret_of(config, config.captcha.private_key_file)
        found.append(
            CaptchaStage(config.captcha.public_key, captcha_check(config.captcha.verify_url, secret))
        )
    return found
