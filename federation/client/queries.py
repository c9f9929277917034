"""Small questions to other servers [ss "Querying for information", "Public Room Directory", "Spaces", "OpenID"]."""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from federation.client import shapes
from federation.client.paths import federation_path
from federation.client.shapes import JsonObject
from federation.transport.requests import NORMAL, QUICK, PeerRequests, Query


@frozen
class DirectoryAnswer:
    """Which room an alias is for, and who can help to enter it."""

    room_id: str
    servers: list[str]


@frozen
class HierarchyAnswer:
    """A space as another server sees it on our behalf."""

    room: JsonObject
    children: list[JsonObject]
    inaccessible_children: list[str]


@frozen
class QueryRequests:
    """A client waits for most of these, so they are quick or fail."""

    requests: PeerRequests

    async def profile(self, destination: str, user_id: str, field: str | None = None) -> JsonObject:
        """A user's profile, or one field of it."""
        query = {"user_id": user_id, **({} if field is None else {"field": field})}
        return await self.requests.get(
            destination, federation_path("v1", "query", "profile"), query, patience=QUICK
        )

    async def directory(self, destination: str, room_alias: str) -> DirectoryAnswer:
        """The room of an alias."""
        path = federation_path("v1", "query", "directory")
        answer = await self.requests.get(destination, path, {"room_alias": room_alias}, patience=QUICK)
        return DirectoryAnswer(
            shapes.room_id(destination, answer, "room_id"), shapes.server_names(answer, "servers")
        )

    async def public_rooms(self, destination: str, query: Query) -> JsonObject:
        """The room directory; `chunk` is a list of objects."""
        path = federation_path("v1", "publicRooms")
        return _directory(destination, await self.requests.get(destination, path, query, patience=QUICK))

    async def search_public_rooms(self, destination: str, body: Mapping[str, Any]) -> JsonObject:
        """The room directory, filtered."""
        path = federation_path("v1", "publicRooms")
        return _directory(destination, await self.requests.post(destination, path, body, patience=QUICK))

    async def hierarchy(
        self, destination: str, room_id: str, *, suggested_only: bool = False
    ) -> HierarchyAnswer:
        """A space and its children."""
        path = federation_path("v1", "hierarchy", room_id)
        query = {"suggested_only": "true" if suggested_only else "false"}
        answer = await self.requests.get(destination, path, query, patience=QUICK)
        inaccessible = answer.get("inaccessible_children", [])
        if not isinstance(inaccessible, list):
            raise shapes.unreadable(destination, "inaccessible_children is not a list")
        return HierarchyAnswer(
            shapes.an_object(destination, answer, "room"),
            shapes.objects(destination, {"children": [], **answer}, "children"),
            [child for child in inaccessible if isinstance(child, str)],
        )

    async def openid_userinfo(self, destination: str, access_token: str) -> str:
        """Whose OpenID token is it? Gives the user id."""
        path = federation_path("v1", "openid", "userinfo")
        answer = await self.requests.get(destination, path, {"access_token": access_token}, patience=QUICK)
        return shapes.text(destination, answer, "sub")

    async def version(self, destination: str) -> tuple[str, str]:
        """Name and version of the peer's software."""
        path = federation_path("v1", "version")
        answer = await self.requests.get(destination, path, patience=QUICK, even_if_down=True)
        server = answer.get("server", {})
        if not isinstance(server, dict):
            raise shapes.unreadable(destination, "server is not an object")
        return str(server.get("name", ""))[:200], str(server.get("version", ""))[:200]

    async def sign_by_policy_server(self, destination: str, pdu: Mapping[str, Any]) -> JsonObject:
        """Ask a policy server for its signature of an event; gives its answer as it is."""
        return await self.requests.post(destination, "/_matrix/policy/v1/sign", pdu, patience=NORMAL)


def _directory(destination: str, answer: JsonObject) -> JsonObject:
    shapes.objects(destination, answer, "chunk")
    return answer
