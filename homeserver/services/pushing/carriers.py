"""Carries one notification to where a pusher's app gets it: by a push gateway, or by a web push service."""

import time
from collections.abc import Mapping
from typing import Any, Protocol

import orjson
from attrs import frozen

from homeserver.core.push.gateway import HIGH, rejected_keys
from homeserver.services.push_gateways import GatewayFault, GatewayRefusal, Gateways
from homeserver.services.pushing.vapid import Vapid
from homeserver.services.pushing.web_push_message import MAX_MESSAGE, Ephemeral, encrypted, subscription
from storage.pushers import Pusher

TTL = 24 * 3600  # seconds for which the service keeps a message for an app that is asleep
_DEAD = (403, 404, 410)  # the app is gone, or has another subscription [RFC 8030 7.3] [MSC4174]
_LATER = (401, 408, 425, 429)
_HEADERS = {
    "Content-Type": "application/octet-stream",
    "Content-Encoding": "aes128gcm",  # [RFC 8291 4]
    "TTL": str(TTL),
}


class Carrier(Protocol):
    """Says whether the app is still there. Raises GatewayFault and GatewayRefusal."""

    async def carry(self, pusher: Pusher, body: Mapping[str, Any]) -> bool: ...


@frozen
class GatewayCarrier:
    """[push-gateway "POST /_matrix/push/v1/notify"]"""

    gateways: Gateways

    async def carry(self, pusher: Pusher, body: Mapping[str, Any]) -> bool:
        answer = await self.gateways.notify(str(pusher.wish.data.get("url")), body)
        return pusher.wish.pushkey not in rejected_keys(answer)


@frozen
class WebPushCarrier:
    """Web push without a gateway [MSC4174] [RFC 8030]."""

    gateways: Gateways
    vapid: Vapid

    async def carry(self, pusher: Pusher, body: Mapping[str, Any]) -> bool:
        notification = body["notification"]
        told = web_push_content(notification, pusher.wish.data)
        return await self._post(pusher, told, "high" if notification["prio"] == HIGH else "low")

    async def introduce(self, pusher: Pusher) -> bool:
        """The app must send the token back before it is told anything."""
        told = {"app_id": pusher.wish.app_id, "ack_token": pusher.token.text if pusher.token else ""}
        return await self._post(pusher, orjson.dumps(told), "high")

    async def _post(self, pusher: Pusher, message: bytes, urgency: str) -> bool:
        url = str(pusher.wish.data["url"])
        to = subscription(pusher.wish.pushkey, str(pusher.wish.data["auth"]))
        who = self.vapid.authorization(url, time.time())
        headers = {**_HEADERS, "Urgency": urgency, "Authorization": who}  # [RFC 8030 5.3]
        status, _ = await self.gateways.post(url, encrypted(message, to, Ephemeral()), headers)
        if status in _DEAD:
            return False
        if 300 <= status < 500 and status not in _LATER:
            raise GatewayRefusal(f"an answer of {status}")
        if not 200 <= status < 300:
            raise GatewayFault(f"an answer of {status}")
        return True


def web_push_content(notification: Mapping[str, Any], data: Mapping[str, Any]) -> bytes:
    """What the app reads: the notification without what is for gateways; without the content where that is too long."""
    default = data.get("default_payload")
    flat = {
        **(default if isinstance(default, Mapping) else {}),
        **{name: value for name, value in notification.items() if name not in ("counts", "devices", "id")},
        "unread": notification["counts"].get("unread", 0),
    }
    tweaks = notification["devices"][0].get("tweaks")
    whole = orjson.dumps({**flat, "tweaks": tweaks} if tweaks else flat)
    if len(whole) <= MAX_MESSAGE:
        return whole
    return orjson.dumps(
        {name: flat[name] for name in ("event_id", "room_id", "prio", "unread") if name in flat}
    )
