"""Requests that come to a simulated server, and how its handlers refuse them."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import field, frozen

FEDERATION = "/_matrix/federation"


@frozen
class Received:
    """A request that came, authenticated; `parameters` are the path's."""

    method: str
    path: str
    query: Any
    origin: str
    body: Any = None
    parameters: Mapping[str, str] = field(factory=dict)


Handler = Callable[[Received], Awaitable[Any]]


class Refuse(Exception):
    """Raised by a handler: an error as answer."""

    def __init__(self, status: int, errcode: str, **more: Any) -> None:
        super().__init__(errcode)
        self.status, self.content = status, {"errcode": errcode, "error": "refused by the peer", **more}
