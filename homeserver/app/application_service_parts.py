"""Application services: how what serves them is connected, and what they and operators may ask."""

from collections.abc import Awaitable, Callable, Mapping

from attrs import frozen
from prometheus_client import CollectorRegistry

from client_api.application_services import ApplicationServicesApi
from client_api.third_party_networks import ThirdPartyNetworksApi
from homeserver.app.application_service_admin import ApplicationServiceAdmin
from homeserver.app.application_service_files import application_services
from homeserver.app.config import Config
from homeserver.app.foundation import Foundation
from homeserver.app.metrics import watch
from homeserver.app.operators import operators
from homeserver.services.application_services.contents import Contents
from homeserver.services.application_services.http import ServiceHttp
from homeserver.services.application_services.interest import Interests
from homeserver.services.application_services.networks import Networks
from homeserver.services.application_services.news import ServiceNews
from homeserver.services.application_services.overview import ServiceOverview
from homeserver.services.application_services.passing import PassingBy
from homeserver.services.application_services.proxied_keys import SECONDS, ServiceKeys
from homeserver.services.application_services.pusher import ServicePusher, Standing
from homeserver.services.application_services.queries import ServiceQueries
from homeserver.services.application_services.senders import make_senders
from homeserver.services.client_events import ClientEvents
from homeserver.services.now import now_ms
from homeserver.web.endpoint import Endpoint


@frozen
class ServiceParts:
    """What `assemble` takes over."""

    endpoints: list[Endpoint]
    tasks: Mapping[str, Callable[[], Awaitable[None]]]


async def service_queries(config: Config, foundation: Foundation) -> ServiceQueries:
    """What asks services; the user that each one is itself exists before the first request."""
    services = application_services(config)
    await make_senders(foundation.database, foundation.state_keys, services)
    return ServiceQueries(
        services, ServiceHttp(), foundation.database, config.application_services.query_seconds
    )


def service_keys(config: Config, queries: ServiceQueries) -> ServiceKeys:
    """What asks services for keys of their users."""
    seconds = min(SECONDS, config.application_services.query_seconds)
    return ServiceKeys(queries.services, queries.http, seconds)


def service_parts(
    config: Config, foundation: Foundation, queries: ServiceQueries, registry: CollectorRegistry
) -> ServiceParts:
    """Who pushes, and what may be asked about that."""
    services, http = queries.services, queries.http
    pushed = [one for one in services.all if one.url]
    interests = Interests(pushed, foundation.reader, foundation.state_keys)
    contents = Contents(
        foundation.database,
        interests,
        ClientEvents(foundation.reader),
        PassingBy(interests, foundation.state_keys),
    )
    news = ServiceNews()
    standings = {one.id: Standing(one) for one in pushed}
    pusher = ServicePusher(foundation.database, contents, http, news, now_ms, standings)
    networks = Networks(services, http, config.application_services.query_seconds)
    endpoints = [
        *ThirdPartyNetworksApi(networks).endpoints(),
        *ApplicationServicesApi(services, http, pusher).endpoints(),
        *ApplicationServiceAdmin(
            ServiceOverview(foundation.database, services.all, pusher), operators(config)
        ).endpoints(),
    ]
    if not pushed:
        return ServiceParts(endpoints, {})
    foundation.followers.append(news)
    watch_pusher(pusher, registry)
    return ServiceParts(endpoints, {"application services": pusher.run})


def watch_pusher(pusher: ServicePusher, registry: CollectorRegistry) -> None:
    """Its numbers."""
    for name, documentation, read in (
        (
            "homing_application_services_busy",
            "Services that have not taken their transaction",
            lambda: pusher.busy,
        ),
        (
            "homing_application_service_transactions_total",
            "Transactions that services took",
            lambda: pusher.pushed.transactions,
        ),
        (
            "homing_application_service_failures_total",
            "Attempts that failed",
            lambda: pusher.pushed.failures,
        ),
    ):
        watch(name, documentation, read, registry=registry)
