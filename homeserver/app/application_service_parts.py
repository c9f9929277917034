"""Application services: how what serves them is connected."""

from homeserver.app.foundation import Foundation
from homeserver.core.application_services import ApplicationServices
from homeserver.services.application_services.senders import make_senders


async def senders(foundation: Foundation, services: ApplicationServices) -> None:
    """The user that each service is itself exists before the first request."""
    await make_senders(foundation.database, foundation.state_keys, services)
