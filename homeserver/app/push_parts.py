"""Push: how its services are connected, and what of them clients may ask."""

from collections.abc import Awaitable, Callable, Mapping

from attrs import frozen
from prometheus_client import CollectorRegistry

from client_api.notifications import NotificationsApi
from client_api.push import PushApi
from client_api.pushers import PushersApi
from client_api.unsubscribe_pages import UnsubscribePages
from homeserver.app.address_parts import mailer, pages_url
from homeserver.app.config import Config
from homeserver.app.foundation import Foundation
from homeserver.app.key_files import vapid_key
from homeserver.app.metrics import watch
from homeserver.app.peer_parts import trusted
from homeserver.core.networks import Networks
from homeserver.services.client_events import ClientEvents
from homeserver.services.notification_list import NotificationList
from homeserver.services.now import now_ms
from homeserver.services.push_contents import PushContents
from homeserver.services.push_courier import PushCourier
from homeserver.services.push_gateways import Gateways, HttpGateways
from homeserver.services.push_news import PushNews
from homeserver.services.push_rules import PushRules
from homeserver.services.push_sender import PushSender
from homeserver.services.pushers import EMAIL, HTTP, WEB_PUSHES, Pushers
from homeserver.services.pushing.carriers import Carrier, GatewayCarrier, WebPushCarrier
from homeserver.services.pushing.digests import Digests
from homeserver.services.pushing.vapid import Vapid
from homeserver.web.endpoint import Endpoint
from storage.database import Database


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
    tls = trusted(config, config.push.certificate_authorities)
    gateways = HttpGateways(Networks(config.push.allowed_networks), tls)
    mails, pushers = digests(config, database), Pushers(database, news.set_up)
    carriers = carriers_of(gateways, vapid(config))
    sender = PushSender(database, news, PushCourier(contents, carriers, mails, now_ms), gateways)
    watch_push(sender, registry)
    endpoints = [
        *PushApi(PushRules(database, foundation.committer, foundation.predefined)).endpoints(),
        *PushersApi(pushers, frozenset(carriers) | ({EMAIL} if mails else set())).endpoints(),
        *UnsubscribePages(pushers).endpoints(),
        *NotificationsApi(NotificationList(database, ClientEvents(reader), state_keys)).endpoints(),
    ]
    return PushParts(endpoints, sender, {"push": sender.run})


def carriers_of(gateways: Gateways, key: Vapid) -> dict[str, Carrier]:
    """Who carries for which kind of pusher."""
    web_push = WebPushCarrier(gateways, key)
    return {HTTP: GatewayCarrier(gateways), **dict.fromkeys(WEB_PUSHES, web_push)}


def vapid(config: Config) -> Vapid:
    """Who we are to web push services."""
    contact = config.server.public_baseurl
    return Vapid(
        vapid_key(config), contact if contact.startswith("https:") else f"https://{config.server.name}"
    )


def digests(config: Config, database: Database) -> Digests | None:
    """What writes mails; None where none can be sent."""
    sending = mailer(config)
    if sending is None:
        return None
    delay = int(1000 * config.push.mail_delay)
    return Digests(database, sending, pages_url(config), config.server.name, delay, now_ms)


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
