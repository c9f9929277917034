"""Client-Server API, "Typing Notifications"."""

from collections.abc import Callable

from attrs import frozen

from homeserver.core.errors import forbidden, invalid_param
from homeserver.services.typing import TypingService
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result

DEFAULT = 30_000  # milliseconds, where a client names no time


@frozen
class TypingApi:
    """[cs "Typing Notifications"]"""

    typing: TypingService
    active: Callable[[int], None]  # told of users who have just done something

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("PUT", "/v3/rooms/{roomId}/typing/{userId}", self.put, rate="other")]

    async def put(self, call: Call) -> Result:
        if call.path["userId"] != call.requester.user_id:
            raise forbidden("Nobody can type for somebody else")
        timeout = None
        if call.field("typing", bool):
            timeout = call.optional("timeout", int, DEFAULT)
            if timeout <= 0:
                raise invalid_param("timeout must be positive")
        await self.typing.put(call.requester.user_nid, call.path["roomId"], timeout)
        self.active(call.requester.user_nid)
        return {}
