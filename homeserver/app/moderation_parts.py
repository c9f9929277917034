"""What administrators and users do about each other: accounts locked, things reported, notices sent."""

from client_api.admin import AdminApi
from client_api.mutual_rooms import MutualRoomsApi
from client_api.reports import ReportsApi
from homeserver.app.account_parts import AccountParts
from homeserver.app.config import Config
from homeserver.app.foundation import Foundation
from homeserver.app.operators import operators
from homeserver.app.policy_admin import PolicyAdmin
from homeserver.app.policy_parts import policy_lists
from homeserver.app.report_admin import ReportAdmin
from homeserver.app.room_parts import RoomParts
from homeserver.app.server_notice_api import ServerNoticeApi
from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.services.access_tokens import AccessTokens
from homeserver.services.account_data import AccountDataStore
from homeserver.services.account_moderation import AccountModeration
from homeserver.services.people import People
from homeserver.services.policy_enforcement import PolicyEnforcement
from homeserver.services.reporting import Reporting
from homeserver.services.room_access import RoomAccess
from homeserver.services.room_reading import RoomReading
from homeserver.services.server_notices import ServerNotices, Voice
from homeserver.web.endpoint import Endpoint


def moderation_endpoints(
    config: Config,
    foundation: Foundation,
    access_tokens: AccessTokens,
    *,
    accounts: AccountParts,
    rooms: RoomParts,
) -> list[Endpoint]:
    """Connect it."""
    database, reader, state_keys = foundation.database, foundation.reader, foundation.state_keys
    reading = RoomReading(database, reader, state_keys, RoomAccess(reader, state_keys))
    return [
        *AdminApi(AccountModeration(database, access_tokens, config.server.name)).endpoints(),
        *ReportsApi(Reporting(database, reading)).endpoints(),
        *ReportAdmin(database, operators(config)).endpoints(),
        *policy_endpoints(config, foundation, rooms),
        *MutualRoomsApi(People(database, state_keys)).endpoints(),
        *ServerNoticeApi(server_notices(config, foundation, accounts, rooms)).endpoints(),
    ]


def policy_endpoints(config: Config, foundation: Foundation, rooms: RoomParts) -> list[Endpoint]:
    """Policy lists, applied to rooms."""
    policies = policy_lists(config, foundation)
    enforcement = PolicyEnforcement(foundation.database, policies, rooms.memberships)
    return PolicyAdmin(enforcement, operators(config)).endpoints()


def server_notices(
    config: Config, foundation: Foundation, accounts: AccountParts, rooms: RoomParts
) -> ServerNotices:
    """Who tells users what the operator has to say."""
    options = config.server_notices
    version = ROOM_VERSIONS[config.rooms.default_version]
    voice = Voice(options.localpart, options.display_name, options.room_name, version)
    store = AccountDataStore(foundation.database, foundation.committer, foundation.predefined)
    return ServerNotices(voice, accounts.registration, rooms.creation, store)
