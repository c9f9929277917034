"""Our users invite people by their e-mail addresses or the like [cs "Third-party invites"].

The identity server, which the operator trusts, knows whose address it is, or keeps the invitation until somebody has
it; the room then holds that server's keys. Only a hash of the address is looked up.
"""

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from attrs import field, frozen

from federation.third_party import OFFER, ThirdPartyInvites
from federation.transport.identity_servers import IdentityServers
from homeserver.core.email_addresses import canonical_email
from homeserver.core.errors import MatrixError, invalid_param
from homeserver.core.event_build import Draft
from homeserver.core.ids import is_user_id
from homeserver.core.membership import INVITE
from homeserver.services.member_content import Move
from homeserver.services.membership import Memberships
from homeserver.services.now import now_ms
from homeserver.services.proposals import Proposals
from storage.current_events import of_keys

_TOLD = (  # state, the field of its content, and what the identity server calls it
    ("m.room.name", "name", "room_name"),
    ("m.room.canonical_alias", "alias", "room_alias"),
    ("m.room.avatar", "url", "room_avatar_url"),
    ("m.room.join_rules", "join_rule", "room_join_rules"),
    ("m.room.create", "type", "room_type"),
)


@frozen
class Invitation:
    """Who invites which address into what room, through which identity server."""

    room_id: str
    sender: str
    medium: str
    address: str
    id_server: str
    token: str = field(repr=False)


@frozen
class AddressInvites:
    """Invites by address."""

    servers: IdentityServers
    memberships: Memberships
    proposals: Proposals
    third_party: ThirdPartyInvites

    async def invite(self, invitation: Invitation, *, reason: str | None = None) -> None:
        """Invite whoever has the address, now or later. Raises what room and identity server have against it."""
        address = invitation.address
        if invitation.medium == "email":
            canonical = canonical_email(address)
            if canonical is None:
                raise invalid_param("address is no e-mail address")
            address = canonical
        self.servers.require_trusted(invitation.id_server)
        # Nobody is written to before the room allows it.
        await self.proposals.propose(_draft(invitation, "allowed?", {}))
        user_id = await self._owner(invitation, address)
        if user_id is None:
            await self._keep(invitation, address)
            return
        move = Move(
            room_id=invitation.room_id,
            sender=invitation.sender,
            target=user_id,
            membership=INVITE,
            reason=reason,
        )
        await self.memberships.invite(move)

    async def _owner(self, invitation: Invitation, address: str) -> str | None:
        """Whose address it is, if the identity server knows."""
        server, token = invitation.id_server, invitation.token
        details = await self.servers.get(server, "/hash_details", token)
        pepper, algorithms = details.get("lookup_pepper"), details.get("algorithms")
        if not isinstance(pepper, str) or not isinstance(algorithms, list) or "sha256" not in algorithms:
            raise MatrixError(503, "M_UNKNOWN", "The identity server does not tell how to ask it")
        digest = sha256(f"{address} {invitation.medium} {pepper}".encode("utf-8", "replace")).digest()
        asked = urlsafe_b64encode(digest).decode().rstrip("=")
        body = {"algorithm": "sha256", "pepper": pepper, "addresses": [asked]}
        answer = await self.servers.post(server, "/lookup", body, token)
        found = answer.get("mappings")
        user_id = found.get(asked) if isinstance(found, dict) else None
        return user_id if is_user_id(user_id) else None

    async def _keep(self, invitation: Invitation, address: str) -> None:
        """Nobody has the address yet: the identity server writes to it, and the room holds its keys."""
        body = {
            "medium": invitation.medium,
            "address": address,
            "room_id": invitation.room_id,
            "sender": invitation.sender,
            **await self._introduction(invitation),
        }
        answer = await self.servers.post(invitation.id_server, "/store-invite", body, invitation.token)
        token = answer.get("token")
        if not isinstance(token, str) or not token or "\0" in token:
            raise MatrixError(503, "M_UNKNOWN", "The identity server did not keep the invitation")
        draft = _draft(invitation, token, _content(answer, invitation.id_server))
        await self.memberships.timeline.change(invitation.room_id, [], lambda head: [draft])

    async def _introduction(self, invitation: Invitation) -> dict[str, str]:
        """What the mail may say of room and inviter."""
        timeline = self.memberships.timeline
        room = (await timeline.head(invitation.room_id)).room
        keys = [(kind, "") for kind, _, _ in _TOLD]
        async with timeline.writing.database.read() as conn:
            state = await of_keys(conn, timeline.writing.reader, room.nid, keys)
        told = {
            name: state[kind, ""].event.content.get(part) for kind, part, name in _TOLD if (kind, "") in state
        }
        profile = (await self.memberships.contents.profiles([invitation.sender])).get(invitation.sender, {})
        told["sender_display_name"] = profile.get("displayname")
        told["sender_avatar_url"] = profile.get("avatar_url")
        return {name: value for name, value in told.items() if isinstance(value, str)}


def _draft(invitation: Invitation, token: str, content: Mapping[str, Any]) -> Draft:
    return Draft(OFFER, invitation.sender, content, now_ms(), invitation.room_id, token)


def _content(answer: Mapping[str, Any], id_server: str) -> dict[str, Any]:
    """The event's content: the keys that prove later who has the address [cs "m.room.third_party_invite"]."""
    listed = answer.get("public_keys")
    keys = [
        {"public_key": one["public_key"], "key_validity_url": one["key_validity_url"]}
        for one in (listed if isinstance(listed, list) else [])
        if isinstance(one, dict)
        and isinstance(one.get("public_key"), str)
        and isinstance(one.get("key_validity_url"), str)
    ]
    if not keys and isinstance(answer.get("public_key"), str):
        url = f"https://{id_server}/_matrix/identity/v2/pubkey/isvalid"
        keys = [{"public_key": answer["public_key"], "key_validity_url": url}]
    if not keys:
        raise MatrixError(503, "M_UNKNOWN", "The identity server told no keys")
    name = answer.get("display_name")
    return {
        "display_name": name if isinstance(name, str) else "",
        "public_keys": keys,
        "public_key": keys[0]["public_key"],
        "key_validity_url": keys[0]["key_validity_url"],
    }
