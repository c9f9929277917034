"""Section of the configuration about proposals that are no part of the specification yet."""

from attrs import frozen

from homeserver.app.config_fields import option


@frozen
class Experimental:
    expiring_messages: bool = option(
        False,
        "Show messages without their content once the time is over that their sender named (MSC2228).",
    )
    unread_counts: bool = option(
        False,
        "Count unread messages besides notifications, also those that push rules only mark as unread, by the action "
        "org.matrix.msc2625.mark_unread (MSC2625).",
    )
