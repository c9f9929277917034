"""Client-Server API, "Third-party invites": addresses in the place of user ids."""

from collections.abc import Mapping
from typing import Any

from federation.address_invites import Invitation
from homeserver.core.errors import invalid_param
from homeserver.core.ids import is_server_name
from homeserver.web import fields

THIRD_PARTY = ("id_server", "id_access_token", "medium", "address")


def invitation_of(body: Mapping[str, Any], room_id: str, sender: str) -> Invitation:
    """What a request, or an entry of `invite_3pid`, asks for. Raises M_MISSING_PARAM, M_INVALID_PARAM, M_BAD_JSON."""
    id_server, token, medium, address = (fields.required(body, name, str) for name in THIRD_PARTY)
    if not is_server_name(id_server):
        raise invalid_param("id_server must be a host name")
    return Invitation(room_id, sender, medium, address, id_server, token)
