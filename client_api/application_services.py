"""Application Service API, "Client-Server API Extensions": "Pinging"."""

import time
from typing import Any

from attrs import frozen

from homeserver.core.application_services import ApplicationServices
from homeserver.core.errors import MatrixError, forbidden
from homeserver.services.application_services.http import (
    ServiceFault,
    ServiceHttp,
    ServiceRefusal,
    ServiceSilent,
)
from homeserver.services.application_services.pusher import ServicePusher
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result

PING_SECONDS = 15.0
_SHOWN = 1000  # characters of a service's refusal


@frozen
class ApplicationServicesApi:
    """[as "Pinging"]"""

    services: ApplicationServices
    http: ServiceHttp
    pusher: ServicePusher

    def endpoints(self) -> list[Endpoint]:
        path = "/v1/appservice/{appserviceId}/ping"
        return [
            Endpoint(
                "POST", path, self.ping, also=("/unstable/fi.mau.msc2659/appservice/{appserviceId}/ping",)
            )
        ]

    async def ping(self, call: Call) -> Result:
        service = self.services.by_id(call.requester.appservice)
        if service is None or service.id != call.path["appserviceId"]:
            raise forbidden("The access token is not the as_token of this application service")
        if not service.url:
            raise MatrixError(400, "M_URL_NOT_SET", "The application service has no url in its registration")
        transaction_id = call.optional("transaction_id", str)
        told = {} if transaction_id is None else {"transaction_id": transaction_id}
        began = time.monotonic()
        try:
            await self.http.ping(service, told, PING_SECONDS)
        except ServiceFault as fault:
            raise _failed(fault) from fault
        await self.pusher.retry(service.id)  # who is there may have what waits
        return {"duration_ms": round((time.monotonic() - began) * 1000)}


def _failed(fault: ServiceFault) -> MatrixError:
    """[as "Pinging"]"""
    if isinstance(fault, ServiceSilent):
        return MatrixError(504, "M_CONNECTION_TIMEOUT", "The application service did not answer in time")
    if isinstance(fault, ServiceRefusal):
        body = fault.body.decode("utf-8", "replace")[:_SHOWN]
        extra: dict[str, Any] = {"status": fault.status, "body": body}
        return MatrixError(502, "M_BAD_STATUS", f"The application service answered {fault.status}", extra)
    return MatrixError(502, "M_CONNECTION_FAILED", "The application service cannot be reached")
