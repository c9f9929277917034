"""Client-Server API, "Capabilities negotiation": what this server lets its users do."""

from attrs import frozen

from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.services.delayed.schedule import DelayLimits
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result


@frozen
class CapabilitiesApi:
    """[cs "Capabilities negotiation"]"""

    default_room_version: str
    addresses: bool
    delays: DelayLimits
    vapid: str  # the public key by which web push services know us

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("GET", "/v3/capabilities", self.capabilities, auth=Auth.GUEST_OK, rate="other")]

    async def capabilities(self, call: Call) -> Result:
        versions = {
            "default": self.default_room_version,
            "available": dict.fromkeys(ROOM_VERSIONS, "stable"),
        }
        delays = {"max_delay_ms": self.delays.delay_ms, "max_scheduled": self.delays.scheduled}
        web_push = {"enabled": True, "vapid": self.vapid}
        return {
            "capabilities": {
                "m.room_versions": versions,
                "m.change_password": {"enabled": True},
                "m.profile_fields": {"enabled": True},  # since v1.16
                "m.set_displayname": {"enabled": True},
                "m.set_avatar_url": {"enabled": True},
                "m.3pid_changes": {"enabled": self.addresses},
                "m.get_login_token": {"enabled": True},  # since v1.7
                "m.delayed_events": delays,  # [MSC4140]
                "org.matrix.msc4140.delayed_events": delays,
                "m.webpush": web_push,  # [MSC4174]
                "org.matrix.msc4174.webpush": web_push,
            }
        }
