"""Server-Server API, "Querying Keys Through Another Server": we as a notary for others."""

import asyncio
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from federation.inbound.keys_server import KeysServerApi
from federation.keys.lookups import KeyLookups
from federation.protocol.key_queries import InvalidQuery, parse_query
from federation.protocol.key_responses import countersign
from federation.protocol.x_matrix import is_key_id
from homeserver.core import canonical_json
from homeserver.core.errors import bad_json, invalid_param
from homeserver.core.ids import is_server_name
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result
from storage import server_keys
from storage.database import Connection, Database
from storage.server_keys import StoredAnswer

Criteria = Mapping[str, Mapping[str, int]]  # server -> key id, or _ALL -> valid until at least

MAX_BODY = 64 * 1024
MAX_KEYS = 1000  # in one query
PATIENCE = 20.0  # seconds for servers that must be asked
ASKING = 16  # queries at a time that have to ask servers; further ones get what is stored
_ALL = ""  # stands for the key id where all of a server's keys are wanted


@frozen
class KeysQueryApi:
    """GET and POST /_matrix/key/v2/query

    Answers come from what is stored where that is valid long enough, else the servers are asked first. Other notaries
    never are: two that ask each other would wait for each other.
    """

    published: KeysServerApi
    database: Database
    lookups: KeyLookups
    _asking: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(ASKING), init=False)

    def endpoints(self) -> list[Endpoint]:
        path = "/_matrix/key/v2/query"
        one = f"{path}/{{serverName}}"
        return [
            Endpoint("POST", path, self.query, auth=Auth.NONE, rate="other", max_body=MAX_BODY),
            Endpoint("GET", one, self.query_one, auth=Auth.NONE, rate="other", also=(f"{one}/{{keyId}}",)),
        ]

    async def query(self, call: Call) -> Result:
        now = self.published.clock()
        try:
            wanted = parse_query(call.body, now)
        except InvalidQuery as fault:
            raise bad_json(f"Not a query for keys: {fault}") from fault
        if sum(map(len, wanted.values())) > MAX_KEYS:
            raise bad_json(f"Not a query for keys: more than {MAX_KEYS} of them")
        return await self._answer({server: _criteria(keys, now) for server, keys in wanted.items()})

    async def query_one(self, call: Call) -> Result:
        server, now = call.path["serverName"], self.published.clock()
        if not is_server_name(server):
            raise invalid_param("Not a server name")
        least = call.query.integer("minimum_valid_until_ts", now)
        return await self._answer({server: _criteria({call.path.get("keyId", _ALL): least}, least)})

    async def _answer(self, wanted: Criteria) -> Result:
        our_name = self.published.identity.server_name
        others = {server: keys for server, keys in wanted.items() if server != our_name}
        answers = await self._of_others(others) if others else []
        told = await asyncio.to_thread(self._countersigned, answers)  # a signature each
        if our_name in wanted:
            told.append(self.published.current())
        return {"server_keys": told}

    def _countersigned(self, answers: list[StoredAnswer]) -> list[dict[str, Any]]:
        signer = self.published.identity.signer
        said = (canonical_json.decode(one.answer) for one in answers)
        return [countersign(one, signer.server_name, signer.key) for one in said]

    async def _of_others(self, wanted: Criteria) -> list[StoredAnswer]:
        async with self.database.read() as conn:
            outdated = await _outdated(conn, wanted)
        if outdated and not self._asking.locked():
            async with self._asking:
                await self.lookups.ask(outdated, patience=PATIENCE)
        async with self.database.read() as conn:
            return await _stored(conn, wanted)


def _criteria(keys: Mapping[str, int], least: int) -> dict[str, int]:
    """What can be asked for; where that is nothing, all keys, in an answer that is valid at `least`."""
    return {key_id: until for key_id, until in keys.items() if is_key_id(key_id)} or {_ALL: least}


async def _outdated(conn: Connection, wanted: Criteria) -> list[str]:
    """The servers of which something is missing here, or not valid long enough."""
    keys = await server_keys.find(conn, _named_keys(wanted))
    newest = {one.server_name: one for one in await server_keys.newest_answers(conn, wanted)}

    def suffices(server: str, key_id: str, least: int) -> bool:
        if key_id == _ALL:
            return server in newest and newest[server].valid_until_ts >= least
        key = keys.get((server, key_id))
        return key is not None and (key.retired or key.valid_until_ts >= least)

    return [
        server
        for server, criteria in wanted.items()
        if not all(suffices(server, key_id, least) for key_id, least in criteria.items())
    ]


async def _stored(conn: Connection, wanted: Criteria) -> list[StoredAnswer]:
    """The answers to pass on: those in which the keys stand, and the newest one of each server."""
    found = [
        *await server_keys.answers_with(conn, _named_keys(wanted)),
        *await server_keys.newest_answers(conn, wanted),
    ]
    return list({(one.server_name, one.fetched_ts): one for one in found}.values())


def _named_keys(wanted: Criteria) -> list[tuple[str, str]]:
    return [(server, key_id) for server, keys in wanted.items() for key_id in keys if key_id != _ALL]
