"""What operators ask of a running server about its application services, and tell it.

For administrators' access tokens, and for commands on this machine that prove to know the server's secret.
"""

from attrs import frozen

from homeserver.app.operators import Operators
from homeserver.core.errors import not_found
from homeserver.services.application_services.overview import ServiceOverview
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result

_PATH = "/_synapse/admin/v1/application_services"


@frozen
class ApplicationServiceAdmin:
    """List, retry."""

    overview: ServiceOverview
    operators: Operators

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("GET", _PATH, self.list, auth=Auth.OPTIONAL),
            Endpoint("POST", f"{_PATH}/{{serviceId}}/retry", self.retry, auth=Auth.OPTIONAL, empty_body=True),
        ]

    async def list(self, call: Call) -> Result:
        self.operators.require(call)
        return {"application_services": await self.overview.all()}

    async def retry(self, call: Call) -> Result:
        self.operators.require(call)
        if not await self.overview.pusher.retry(call.path["serviceId"]):
            raise not_found("There is no such application service, or nothing is pushed to it")
        return {}
