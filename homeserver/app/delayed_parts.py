"""Events that are sent later: what is allowed, and who sends them."""

from collections.abc import Awaitable, Callable, Mapping

from attrs import frozen

from client_api.delayed_events import DelayedEventsApi
from homeserver.app.config import Config
from homeserver.services.delayed.delivery import Alarm, Delivery, Sending
from homeserver.services.delayed.schedule import DelayedEvents, DelayLimits
from homeserver.services.room_sending import RoomSending
from homeserver.web.rate_limit import RateLimiter
from storage.database import Database


@frozen
class DelayedParts:
    """What `assemble` takes over."""

    api: DelayedEventsApi
    tasks: Mapping[str, Callable[[], Awaitable[None]]]


def delayed_parts(
    config: Config, database: Database, rooms: RoomSending, limiter: RateLimiter
) -> DelayedParts:
    """The schedule and its task."""
    alarm = Alarm()
    schedule = DelayedEvents(database, delay_limits(config), alarm.ring)
    sending = Sending(database, rooms, lambda user_id: limiter.check("message", user_id))
    delivery = Delivery(sending, schedule, alarm)
    return DelayedParts(DelayedEventsApi(delivery, rooms), {"delayed events": delivery.run})


def delay_limits(config: Config) -> DelayLimits:
    """As the operator has set them."""
    return DelayLimits(config.limits.delayed_events, config.limits.event_delay * 1000)
