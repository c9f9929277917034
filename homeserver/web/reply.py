"""What a handler may answer with, when a plain JSON object is not enough."""

from collections.abc import AsyncIterable, Mapping
from typing import Any

from attrs import field, frozen

JSON_TYPE = "application/json"


@frozen
class Reply:
    """An answer with its own status, headers or content type.

    `body` is a JSON value (objects and lists may hold `orjson.Fragment`), bytes that are sent as they are,
    or a stream of bytes. A stream is sent chunked unless `headers` has a Content-Length.
    """

    status: int = 200
    body: dict[str, Any] | list[Any] | bytes | AsyncIterable[bytes] = field(factory=dict)
    headers: Mapping[str, str] = field(factory=dict)
    content_type: str = JSON_TYPE


Result = dict[str, Any] | list[Any] | bytes | Reply
