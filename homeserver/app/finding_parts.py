"""Searching messages and people: the followers that make them findable, and what clients may ask."""

from collections.abc import Awaitable, Callable, Mapping

from attrs import frozen

from client_api.search import SearchApi
from client_api.user_directory import UserDirectoryApi
from homeserver.app.followers import follower
from homeserver.app.foundation import Foundation
from homeserver.services.aggregations import Aggregations
from homeserver.services.client_events import ClientEvents
from homeserver.services.finding import documents, people
from homeserver.services.finding.documents import take_documents
from homeserver.services.finding.people import take_people
from homeserver.services.finding.search import MessageSearch
from homeserver.services.history import History
from homeserver.services.room_access import RoomAccess
from homeserver.services.room_reading import RoomReading
from homeserver.services.user_directory import UserDirectory
from homeserver.web.endpoint import Endpoint


@frozen
class FindingParts:
    """What `assemble` takes over."""

    endpoints: list[Endpoint]
    tasks: Mapping[str, Callable[[], Awaitable[None]]]


def finding_parts(foundation: Foundation) -> FindingParts:
    """Connect it."""
    database, reader, state_keys = foundation.database, foundation.reader, foundation.state_keys
    messages = follower(foundation, "search", documents.TYPES, take_documents)
    names = follower(foundation, "user directory", people.TYPES, take_people)
    access = RoomAccess(reader, state_keys)
    history = History(reader, access, RoomReading(database, reader, state_keys, access))
    search = MessageSearch(reader, access, messages)
    directory = UserDirectory(database, names, foundation.notifier)
    aggregations = Aggregations(ClientEvents(reader))
    endpoints = [
        *SearchApi(database, search, history, aggregations, foundation.notifier).endpoints(),
        *UserDirectoryApi(directory).endpoints(),
    ]
    return FindingParts(endpoints, {"search": messages.run, "user directory": names.run})
