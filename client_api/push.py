"""Client-Server API, "Push Notifications": so far the rules that everybody begins with."""

from attrs import frozen

from homeserver.core.push.defaults import default_push_rules
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result


@frozen
class PushApi:
    """[cs "Push Rules"]"""

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("GET", "/v3/pushrules/", self.rules),
            Endpoint("GET", "/v3/pushrules/global/", self.global_rules),
            Endpoint("GET", "/v3/pushers", self.pushers),
            Endpoint("GET", "/v3/notifications", self.notifications),
        ]

    async def rules(self, call: Call) -> Result:
        return default_push_rules(call.requester.user_id)

    async def global_rules(self, call: Call) -> Result:
        rules: Result = default_push_rules(call.requester.user_id)["global"]
        return rules

    async def pushers(self, call: Call) -> Result:
        return {"pushers": []}

    async def notifications(self, call: Call) -> Result:
        return {"notifications": []}
