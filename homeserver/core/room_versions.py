"""Room versions 1 to 12 as data, each a delta on the one before [rooms/index].

No code asks for a version's number or name: it asks for a *property*. A new version is a new line here, and a
property where it really behaves in a new way.
"""

from enum import Enum

from attrs import evolve, frozen


class EventIDFormat(Enum):
    """How an event gets its id."""

    CHOSEN = "chosen by the sender, inside the event"  # [rooms/v1 "Event IDs"]
    HASH = "reference hash, standard base64"  # [rooms/v3 "Event IDs"]
    URL_SAFE_HASH = "reference hash, URL-safe base64"  # [rooms/v4 "Event IDs"]


class StateResolution(Enum):
    """Which algorithm makes one state of several."""

    V1 = "v1"  # [rooms/v1 "State resolution"]
    V2 = "v2"  # [rooms/v2 "State resolution"]
    V2_1 = "v2.1"  # [rooms/v12 "State resolution"]


@frozen
class RedactionRules:
    """What survives a redaction: top-level keys, and per event type keys of `content`.

    A dotted content key ("third_party_invite.signed") keeps just that member of an object.
    `None` for a type keeps the whole content.
    """

    top_level: frozenset[str]
    content: dict[str, frozenset[str] | None]


@frozen(repr=False)
class RoomVersion:
    """The behavior of one room version."""

    name: str
    stable: bool = True
    event_id_format: EventIDFormat = EventIDFormat.CHOSEN
    state_resolution: StateResolution = StateResolution.V1
    redaction: RedactionRules = RedactionRules(frozenset(), {})
    strict_canonical_json: bool = False  # since v6: no floats, integers within ±(2^53-1)
    enforce_key_validity: bool = False  # since v5: the signing key must have been valid at the event's time
    aliases_need_own_domain: bool = True  # until v5: special auth rule of m.room.aliases
    redactions_need_auth: bool = True  # until v2: the auth rules judge a redaction's target
    limit_notification_levels: bool = False  # since v6: `notifications` in power levels is guarded too
    knock: bool = False  # since v7
    restricted: bool = False  # since v8: join rule "restricted"
    knock_restricted: bool = False  # since v10
    integer_power_levels: bool = False  # since v10: no "50" for 50
    create_names_creator: bool = True  # until v10: content.creator; since v11 it is the sender
    redacts_in_content: bool = False  # since v11
    room_id_is_create_hash: bool = False  # since v12
    privileged_creators: bool = False  # since v12: creators stand above all levels

    def __repr__(self) -> str:
        return f"RoomVersion({self.name})"

    @property
    def event_id_in_pdu(self) -> bool:
        """Until v2 events carry their id, and links are pairs of id and hashes [rooms/v1 "Event format"]."""
        return self.event_id_format is EventIDFormat.CHOSEN


_TOP_V1 = frozenset(
    "event_id type room_id sender state_key content hashes signatures depth prev_events prev_state auth_events "
    "origin origin_server_ts membership".split()
)
_REDACTION_V1 = RedactionRules(  # [rooms/v1 "Redactions"]
    _TOP_V1,
    {
        "m.room.member": frozenset({"membership"}),
        "m.room.create": frozenset({"creator"}),
        "m.room.join_rules": frozenset({"join_rule"}),
        "m.room.power_levels": frozenset(
            "ban events events_default kick redact state_default users users_default".split()
        ),
        "m.room.aliases": frozenset({"aliases"}),
        "m.room.history_visibility": frozenset({"history_visibility"}),
    },
)


def _keeping(rules: RedactionRules, **changes: frozenset[str] | None) -> RedactionRules:
    """`rules` with other content keys for some types ("m_room_member" for m.room.member)."""
    renamed = {f"m.room.{kind}": keys for kind, keys in changes.items()}
    return evolve(rules, content={**rules.content, **renamed})


_REDACTION_V6 = _keeping(_REDACTION_V1, aliases=frozenset())  # [rooms/v6 "Redactions"]
_REDACTION_V8 = _keeping(
    _REDACTION_V6, join_rules=frozenset({"join_rule", "allow"})
)  # [rooms/v8 "Redactions"]
_REDACTION_V9 = _keeping(  # [rooms/v9 "Redactions"]
    _REDACTION_V8, member=frozenset({"membership", "join_authorised_via_users_server"})
)
_REDACTION_V11 = evolve(  # [rooms/v11 "Redactions"]
    _keeping(
        _REDACTION_V9,
        create=None,
        member=frozenset({"membership", "join_authorised_via_users_server", "third_party_invite.signed"}),
        power_levels=frozenset(
            "ban events events_default invite kick redact state_default users users_default".split()
        ),
        redaction=frozenset({"redacts"}),
    ),
    top_level=_TOP_V1 - {"prev_state", "origin", "membership"},
)

V1 = RoomVersion("1", redaction=_REDACTION_V1)
V2 = evolve(V1, name="2", state_resolution=StateResolution.V2)
V3 = evolve(V2, name="3", event_id_format=EventIDFormat.HASH, redactions_need_auth=False)
V4 = evolve(V3, name="4", event_id_format=EventIDFormat.URL_SAFE_HASH)
V5 = evolve(V4, name="5", enforce_key_validity=True)
V6 = evolve(
    V5,
    name="6",
    redaction=_REDACTION_V6,
    strict_canonical_json=True,
    aliases_need_own_domain=False,
    limit_notification_levels=True,
)
V7 = evolve(V6, name="7", knock=True)
V8 = evolve(V7, name="8", restricted=True, redaction=_REDACTION_V8)
V9 = evolve(V8, name="9", redaction=_REDACTION_V9)
V10 = evolve(V9, name="10", integer_power_levels=True, knock_restricted=True)
V11 = evolve(V10, name="11", create_names_creator=False, redacts_in_content=True, redaction=_REDACTION_V11)
V12 = evolve(
    V11,
    name="12",
    room_id_is_create_hash=True,
    privileged_creators=True,
    state_resolution=StateResolution.V2_1,
)

ROOM_VERSIONS: dict[str, RoomVersion] = {
    version.name: version for version in (V1, V2, V3, V4, V5, V6, V7, V8, V9, V10, V11, V12)
}
DEFAULT_ROOM_VERSION = V12  # [rooms/index]
