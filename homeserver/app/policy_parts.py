"""How policy servers, and lists, are connected with the writers of rooms."""

from federation.client.policy import PolicyRequests
from federation.policy import PolicyServers
from federation.transport.requests import PeerRequests
from homeserver.app.config import Config
from homeserver.app.foundation import Foundation
from homeserver.services.policy_lists import PolicyLists
from homeserver.services.room_policies import RoomPolicies


def heed_policy_servers(foundation: Foundation, requests: PeerRequests) -> None:
    """From now on our events ask the policy servers of their rooms, and events of others are held against them."""
    heads = foundation.timeline.heads
    policies = RoomPolicies(foundation.database, heads, foundation.room_servers)
    foundation.timeline.policing = PolicyServers(policies, PolicyRequests(requests).sign)


def policy_lists(config: Config, foundation: Foundation) -> PolicyLists:
    """The lists that the operator has chosen."""
    return PolicyLists(
        foundation.database, foundation.reader, foundation.identity, tuple(config.rooms.policy_rooms)
    )
