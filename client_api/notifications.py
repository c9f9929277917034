"""Client-Server API, "Listing Notifications"."""

from attrs import frozen

from homeserver.core.errors import invalid_param
from homeserver.services.client_events import Audience
from homeserver.services.notification_list import NotificationList, Page
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result

DEFAULT_LIMIT, MAX_LIMIT = 20, 500
_LAST = 2**62


@frozen
class NotificationsApi:
    """[cs "Listing Notifications"]"""

    notifications: NotificationList

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("GET", "/v3/notifications", self.list)]

    async def list(self, call: Call) -> Result:
        page = Page(
            before=_position(call.query.string("from", None)),
            limit=min(call.query.integer("limit", DEFAULT_LIMIT, least=1), MAX_LIMIT),
            highlights="highlight" in call.query.string("only", "").split(","),
        )
        audience = Audience(call.requester.user_nid, call.requester.device_nid)
        found, following = await self.notifications.page(audience, page)
        answer: dict[str, Result] = {"notifications": found}
        return answer if following is None else {**answer, "next_token": str(following)}


def _position(token: str | None) -> int:
    if token is None:
        return _LAST
    if not (token.isascii() and token.isdecimal() and len(token) <= 16):
        raise invalid_param("from must be a next_token of an earlier answer")
    return int(token)
