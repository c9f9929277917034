"""What a request for public rooms looks for: the same for clients and for servers."""

from attrs import frozen

from homeserver.core.errors import bad_json, invalid_param
from homeserver.services.public_list import MAX_LIMIT
from homeserver.services.room_summaries import Search
from homeserver.web import fields
from homeserver.web.call import Call


@frozen
class SearchRequest:
    """A filter and a page."""

    search: Search
    since: str | None
    limit: int


def listing(call: Call) -> SearchRequest:
    """Of GET: everything."""
    limit = call.query.integer("limit", MAX_LIMIT, least=0)
    search = Search(
        network=call.query.string("third_party_instance_id", None) or None,
        all_networks=call.query.boolean("include_all_networks", False),
    )
    return SearchRequest(_checked(search), call.query.string("since", None), limit)


def searching(call: Call) -> SearchRequest:
    """Of POST: filtered."""
    wanted = call.optional("filter", dict, {})
    term = fields.optional(wanted, "generic_search_term", str)
    limit = call.optional("limit", int, MAX_LIMIT)
    if limit < 0:
        raise invalid_param("limit must not be negative")
    search = Search(
        term or None,
        _room_types(wanted),
        call.optional("third_party_instance_id", str) or None,
        call.optional("include_all_networks", bool, False),
    )
    return SearchRequest(_checked(search), call.optional("since", str), limit)


def _checked(search: Search) -> Search:
    """One network or all [cs "POST /publicRooms"]."""
    if search.network is not None and search.all_networks:
        raise invalid_param("third_party_instance_id can only be used if include_all_networks is false")
    return search


def _room_types(wanted: dict[str, object]) -> frozenset[str | None] | None:
    """null stands for rooms without a type [cs "Published room directory"]."""
    types = fields.optional(wanted, "room_types", list)
    if types is None:
        return None
    if not all(kind is None or isinstance(kind, str) for kind in types):
        raise bad_json("room_types must hold strings and null")
    return frozenset(types)
