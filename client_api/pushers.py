"""Client-Server API, "Push Notifications": pushers."""

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from yarl import URL

from homeserver.core.errors import invalid_param, missing_param
from homeserver.services.pushers import HTTP, WEB_PUSHES, Pushers
from homeserver.services.pushing.web_push_message import subscription
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Reply, Result
from storage.pushers import Pusher, Wish

NOTIFY_PATH = "/_matrix/push/v1/notify"
MAX_APP_ID, MAX_PUSHKEY = 64, 512  # [cs "Push Notifications"]
MAX_TEXT = 512
MAX_DATA = 16_384
_UNSTABLE_ACK = "/unstable/org.matrix.msc4174/pushers/ack"
_REQUIRED = ("app_display_name", "device_display_name", "lang", "data")


@frozen
class PushersApi:
    """[cs "Push Notifications"]"""

    pushers: Pushers
    kinds: frozenset[str]

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("GET", "/v3/pushers", self.list),
            Endpoint("POST", "/v3/pushers/set", self.set, rate="other"),
            Endpoint("POST", "/v3/pushers/ack", self.acknowledge, also=(_UNSTABLE_ACK,)),
        ]

    async def list(self, call: Call) -> Result:
        return {"pushers": [_told(pusher) for pusher in await self.pushers.of(call.requester.user_nid)]}

    async def set(self, call: Call) -> Result:
        app_id = _short(call, "app_id", MAX_APP_ID)
        pushkey = _short(call, "pushkey", MAX_PUSHKEY)
        if "kind" not in call.body:
            raise missing_param("kind")
        if call.body["kind"] is None:
            await self.pushers.delete(call.requester.user_nid, app_id, pushkey)
            return {}
        wish = self._wish(call, app_id, pushkey)
        owner = (call.requester.user_nid, call.requester.device_nid)
        waits = await self.pushers.put(owner, wish, append=call.optional("append", bool, False))
        return Reply(201, b"{}") if waits else {}

    async def acknowledge(self, call: Call) -> Result:
        """The app sends back what it was told [MSC4174]."""
        token = call.field("ack_token", str)
        await self.pushers.activate(call.requester.user_nid, _short(call, "app_id", MAX_APP_ID), token)
        return {}

    def _wish(self, call: Call, app_id: str, pushkey: str) -> Wish:
        kind = call.field("kind", str)
        if kind not in self.kinds:
            raise invalid_param(f"This server has pushers of these kinds: {', '.join(sorted(self.kinds))}")
        missing = [name for name in _REQUIRED if name not in call.body]
        if missing:
            raise missing_param(", ".join(missing))
        data = call.field("data", dict)
        if kind == HTTP:
            _check_gateway(data.get("url"))
        elif kind in WEB_PUSHES:
            _check_subscription(data, pushkey)
        if len(str(data)) > MAX_DATA:
            raise invalid_param(f"data has at most {MAX_DATA} characters")
        return Wish(
            kind=kind,
            app_id=app_id,
            pushkey=pushkey,
            app_display_name=_short(call, "app_display_name", MAX_TEXT),
            device_display_name=_short(call, "device_display_name", MAX_TEXT),
            lang=_short(call, "lang", MAX_TEXT),
            profile_tag=_short(call, "profile_tag", MAX_TEXT) if call.body.get("profile_tag") else None,
            data=data,
        )


def _short(call: Call, name: str, most: int) -> str:
    value = call.field(name, str)
    if len(value) > most:
        raise invalid_param(f"{name} has at most {most} characters")
    return value


def _check_gateway(text: Any) -> None:
    """Raises M_MISSING_PARAM and M_INVALID_PARAM for what is no push gateway."""
    url = _url(text)
    if url.path != NOTIFY_PATH:
        raise invalid_param(f"The path of data.url must be {NOTIFY_PATH}")


def _check_subscription(data: Mapping[str, Any], pushkey: str) -> None:
    """Raises M_MISSING_PARAM and M_INVALID_PARAM for what is none of a web push service [MSC4174]."""
    if _url(data.get("url")).scheme != "https":
        raise invalid_param("data.url must be an HTTPS URL")
    if "auth" not in data:
        raise missing_param("data.auth")
    try:
        subscription(pushkey, str(data["auth"]))
    except ValueError as cause:
        raise invalid_param(
            "pushkey must be a public key on the curve P-256, and data.auth 16 bytes, in URL-safe Base64"
        ) from cause


def _url(text: Any) -> URL:
    if text is None:
        raise missing_param("data.url")
    try:
        url = URL(text) if isinstance(text, str) else URL()
        port = url.port
    except ValueError as cause:
        raise invalid_param("data.url is no URL") from cause
    if url.scheme not in ("http", "https") or not url.host or port is None:
        raise invalid_param("data.url is no URL of the web")
    if url.user is not None or url.password is not None:
        raise invalid_param("data.url must not hold a password")
    return url


def _told(pusher: Pusher) -> dict[str, Any]:
    wish = pusher.wish
    told: dict[str, Any] = {
        "app_display_name": wish.app_display_name,
        "app_id": wish.app_id,
        "data": wish.data,
        "device_display_name": wish.device_display_name,
        "kind": wish.kind,
        "lang": wish.lang,
        "pushkey": wish.pushkey,
    }
    if wish.kind in WEB_PUSHES:
        told["activated"] = pusher.token is None
    return told if wish.profile_tag is None else {**told, "profile_tag": wish.profile_tag}
