"""Client-Server API, "Server Discovery": what is told at /.well-known/matrix, where the operator wants it."""

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from homeserver.core.errors import not_found
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result


@frozen
class WellKnownFacts:
    """What the operator has said."""

    base_url: str = ""
    server: str = ""
    support_page: str = ""
    contacts: Sequence[dict[str, str]] = ()


@frozen
class WellKnownApi:
    """[cs "Well-known URIs"], [ss "Server discovery"]"""

    facts: WellKnownFacts

    def endpoints(self) -> list[Endpoint]:
        path = "/.well-known/matrix"
        return [
            Endpoint("GET", f"{path}/client", self.client, auth=Auth.NONE),
            Endpoint("GET", f"{path}/server", self.server, auth=Auth.NONE),
            Endpoint("GET", f"{path}/support", self.support, auth=Auth.NONE),
            Endpoint("GET", f"{path}/policy_server", self.policy_server, auth=Auth.NONE),
        ]

    async def client(self, call: Call) -> Result:
        if not self.facts.base_url:
            raise not_found("This server does not say where clients reach it")
        return {"m.homeserver": {"base_url": self.facts.base_url}}

    async def server(self, call: Call) -> Result:
        if not self.facts.server:
            raise not_found("This server is reached under its own name")
        return {"m.server": self.facts.server}

    async def support(self, call: Call) -> Result:
        answer: dict[str, Any] = {}
        if self.facts.contacts:
            answer["contacts"] = list(self.facts.contacts)
        if self.facts.support_page:
            answer["support_page"] = self.facts.support_page
        if not answer:
            raise not_found("This server names nobody to turn to")
        return answer

    async def policy_server(self, call: Call) -> Result:
        """We heed policy servers of rooms, and are none ourselves [cs "Policy Servers"]."""
        raise not_found("This server is no policy server")
