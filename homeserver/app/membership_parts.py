"""Memberships over federation: how both roles are connected, ours and that of the server that is asked."""

from attrs import frozen

from federation.admission import Admission
from federation.aliases import Aliases
from federation.candidates import Candidates
from federation.client.events import EventRequests
from federation.client.membership import MembershipRequests
from federation.client.queries import QueryRequests
from federation.gaps import Gaps
from federation.inbound.invites import InvitesApi
from federation.inbound.joins import JoinsApi
from federation.inbound.knocks import KnocksApi
from federation.inbound.leaves import LeavesApi
from federation.inbound.third_party_invites import ThirdPartyInvitesApi
from federation.invite_state import InviteState
from federation.inviting import Inviting
from federation.join_answers import JoinAnswers
from federation.joining import Handshake, Joining
from federation.knocking import Knocking
from federation.leaving import Leaving
from federation.membership import Entrances, OtherServers
from federation.resident import ResidentRooms
from federation.submissions import Submissions
from federation.templates import Templates
from federation.third_party import ThirdPartyInvites
from federation.transport.identity_servers import IdentityServers
from federation.transport.requests import PeerRequests
from federation.verify import PduChecks
from homeserver.app.foundation import Foundation
from homeserver.app.key_parts import KeyParts
from homeserver.app.peer_parts import PeerParts
from homeserver.app.room_parts import RoomParts
from homeserver.services.adoption import Adoption
from homeserver.services.application_services.queries import ServiceQueries
from homeserver.services.arrivals import Arrivals
from homeserver.services.directory import Directory
from homeserver.services.introductions import Introductions
from homeserver.services.member_content import MemberContents
from homeserver.services.membership import Memberships
from homeserver.services.policy_lists import PolicyLists
from homeserver.services.proposals import Proposals
from homeserver.services.remote_rooms import RemoteRooms
from homeserver.services.restricted_joins import RestrictedJoins
from homeserver.services.room_export import RoomExport
from homeserver.services.room_servers import RoomServers
from homeserver.services.room_states import RoomStates
from homeserver.services.server_acls import ServerACLs
from homeserver.web.endpoint import Endpoint


@frozen
class Federating:
    """What memberships take from the rest of federation."""

    requests: PeerRequests
    checks: PduChecks
    gaps: Gaps
    admission: Admission
    servers: RoomServers


def federating(foundation: Foundation, peers: PeerParts, keys: KeyParts) -> Federating:
    """The parts of federation that the ways into rooms share."""
    database, reader = foundation.database, foundation.reader
    arrivals = Arrivals(foundation.timeline, RoomStates(reader, foundation.state_keys))
    servers = RoomServers()
    gaps = Gaps(EventRequests(peers.requests), keys.checks.check, arrivals, servers)
    return Federating(peers.requests, keys.checks, gaps, Admission(database, ServerACLs(reader)), servers)


def other_servers(foundation: Foundation, parts: Federating) -> OtherServers:
    """What the services ask of other servers when memberships change."""
    membership = MembershipRequests(parts.requests)
    export = RoomExport(foundation.database, foundation.reader)
    proposals = Proposals(foundation.timeline)
    inviting = Inviting(membership, proposals, Introductions(export), parts.gaps.arrivals)
    return OtherServers(
        inviting, Leaving(membership, _candidates(foundation, parts), foundation.identity.signer)
    )


def entrances(foundation: Foundation, parts: Federating, memberships: Memberships) -> Entrances:
    """The ways into rooms for our users."""
    membership, signer = MembershipRequests(parts.requests), foundation.identity.signer
    candidates, contents = _candidates(foundation, parts), MemberContents(foundation.database)
    handshake = Handshake(membership, parts.checks, signer)
    adoption = Adoption(foundation.timeline, parts.gaps.arrivals)
    return Entrances(
        memberships,
        Joining(handshake, candidates, contents, adoption, parts.gaps, parts.admission.entering),
        Knocking(membership, candidates, InviteState(parts.checks), contents, signer),
    )


@frozen
class WaysIn:
    """What the client API needs to bring users into rooms of any server."""

    entrances: Entrances
    aliases: Aliases


def ways_in(foundation: Foundation, parts: Federating, rooms: RoomParts, services: ServiceQueries) -> WaysIn:
    """Connect it with the services of rooms."""
    return WaysIn(entrances(foundation, parts, rooms.memberships), aliases(parts, rooms.directory, services))


def aliases(parts: Federating, directory: Directory, services: ServiceQueries) -> Aliases:
    """Room aliases of any server."""
    return Aliases(directory, parts.servers, QueryRequests(parts.requests), services.alias)


def third_party_invites(
    foundation: Foundation, parts: Federating, servers: IdentityServers
) -> ThirdPartyInvites:
    """Invitations to addresses that have become users."""
    return ThirdPartyInvites(
        servers,
        other_servers(foundation, parts),
        MembershipRequests(parts.requests),
        Proposals(foundation.timeline),
        parts.gaps.arrivals,
        RemoteRooms(foundation.timeline.writing, foundation.timeline.push),
    )


def membership_endpoints(
    foundation: Foundation,
    parts: Federating,
    third_party: ThirdPartyInvites,
    *,
    services: ServiceQueries,
    policies: PolicyLists,
) -> list[Endpoint]:
    """What other servers may ask."""
    export = RoomExport(foundation.database, foundation.reader)
    restricted = RestrictedJoins(
        foundation.database, foundation.timeline.heads, foundation.state_keys, foundation.identity
    )
    rooms = ResidentRooms(parts.admission)
    templates = Templates(rooms, Proposals(foundation.timeline), restricted)
    submissions = Submissions(parts.checks, parts.gaps.arrivals, foundation.identity)
    remote_rooms = RemoteRooms(foundation.timeline.writing, foundation.timeline.push)
    answers = JoinAnswers(export, foundation.state_keys)
    return [
        *JoinsApi(rooms, templates, restricted, submissions, answers).endpoints(),
        *LeavesApi(rooms, templates, submissions).endpoints(),
        *KnocksApi(rooms, templates, submissions, Introductions(export)).endpoints(),
        *InvitesApi(
            rooms, submissions, InviteState(parts.checks), remote_rooms, services.user, policies
        ).endpoints(),
        *ThirdPartyInvitesApi(rooms, third_party, foundation.identity).endpoints(),
    ]


def _candidates(foundation: Foundation, parts: Federating) -> Candidates:
    remote_rooms, name = (
        RemoteRooms(foundation.timeline.writing, foundation.timeline.push),
        foundation.identity.server_name,
    )
    return Candidates(remote_rooms, name, parts.requests.destinations.may_ask)
