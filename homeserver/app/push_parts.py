"""Push: how its services are connected, and what of them clients may ask."""

from collections.abc import Awaitable, Callable, Mapping

from attrs import frozen
from prometheus_client import CollectorRegistry

from client_api.notifications import NotificationsApi
from client_api.push import PushApi
from client_api.pushers import HTTP, PushersApi
from homeserver.app.config import Config
from homeserver.app.foundation import Foundation
from homeserver.app.metrics import watch
from homeserver.core.networks import Networks
from homeserver.services.client_events import ClientEvents
from homeserver.services.notification_list import NotificationList
from homeserver.services.now import now_ms
from homeserver.services.push_contents import PushContents
from homeserver.services.push_courier import PushCourier
from homeserver.services.push_gateways import HttpGateways
from homeserver.services.push_news import PushNews
from homeserver.services.push_rules import PushRules
from homeserver.services.push_sender import PushSender
from homeserver.services.pushers import Pushers
from homeserver.web.endpoint import Endpoint


@frozen
class PushParts:
    """What `assemble` takes over."""

    endpoints: list[Endpoint]
    sender: PushSender
    tasks: Mapping[str, Callable[[], Awaitable[None]]]


def push_parts(config: Config, foundation: Foundation, registry: CollectorRegistry) -> PushParts:
    """Rules, notifications, pushers, and who serves them."""
    database, reader, state_keys = foundation.database, foundation.reader, foundation.state_keys
    news = PushNews()
    foundation.followers.append(news)
    contents = PushContents(database, reader, state_keys, foundation.counts)
    gateways = HttpGateways(Networks(config.push.allowed_networks))
    sender = PushSender(database, news, PushCourier(contents, gateways, now_ms))
    watch_push(sender, registry)
    endpoints = [
        *PushApi(PushRules(database, foundation.committer)).endpoints(),
        *PushersApi(Pushers(database, news.set_up), frozenset({HTTP})).endpoints(),
        *NotificationsApi(NotificationList(database, ClientEvents(reader), state_keys)).endpoints(),
    ]
    return PushParts(endpoints, sender, {"push": sender.run})


def watch_push(sender: PushSender, registry: CollectorRegistry) -> None:
    """Its numbers."""
    carried = sender.courier.carried
    for name, documentation, read in (
        (
            "homing_push_position",
            "Up to here the clock has been followed for pushers",
            lambda: sender.position,
        ),
        ("homing_pushers_busy", "Pushers that are being served", lambda: sender.busy),
        ("homing_pushers_resting", "Pushers whose gateway fails", lambda: sender.resting),
        ("homing_push_delivered_total", "Notifications that gateways took", lambda: carried.delivered),
        ("homing_push_failed_total", "Attempts that failed", lambda: carried.failed),
        ("homing_push_refused_total", "Notifications that gateways refused", lambda: carried.refused),
        (
            "homing_push_rejected_total",
            "Pushers deleted because gateways rejected them",
            lambda: carried.rejected,
        ),
        ("homing_push_outdated_total", "Notifications given up after a day", lambda: carried.outdated),
    ):
        watch(name, documentation, read, registry=registry)
