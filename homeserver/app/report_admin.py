"""What operators ask of a running server about what users reported.

For administrators' access tokens, and for commands on this machine that prove to know the server's secret. The paths
are those that existing tools use; reports of rooms and of users are listed, too.
"""

from typing import Any

import orjson
from attrs import frozen

from homeserver.app.operators import Operators
from homeserver.core.errors import not_found
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result
from storage import reports
from storage.database import Database
from storage.reports import KeptReport

_PATH = "/_synapse/admin/v1/event_reports"
_MOST = 1_000
_MAX_NUMBER = 2**53


@frozen
class ReportAdmin:
    """Reports: list, show, delete."""

    database: Database
    operators: Operators

    def endpoints(self) -> list[Endpoint]:
        one = f"{_PATH}/{{number}}"
        return [
            Endpoint("GET", _PATH, self.list, auth=Auth.OPTIONAL),
            Endpoint("GET", one, self.show, auth=Auth.OPTIONAL),
            Endpoint("DELETE", one, self.delete, auth=Auth.OPTIONAL, empty_body=True),
        ]

    async def list(self, call: Call) -> Result:
        self.operators.require(call)
        limit = min(call.query.integer("limit", 100, least=1), _MOST)
        before = call.query.integer("from", None, least=0)
        async with self.database.read() as conn:
            found = await reports.page_of_reports(conn, before, limit)
            total = await reports.count_reports(conn)
        answer: dict[str, Any] = {"event_reports": [_told(one) for one in found], "total": total}
        if len(found) == limit:
            answer["next_token"] = found[-1].number
        return answer

    async def show(self, call: Call) -> Result:
        self.operators.require(call)
        async with self.database.read() as conn:
            found = await reports.find_report(conn, _number(call))
        if found is None:
            raise not_found("There is no such report")
        event = None if found.event is None else orjson.Fragment(found.event)
        return {**_told(found), "event_json": event}

    async def delete(self, call: Call) -> Result:
        self.operators.require(call)
        async with self.database.writer() as conn:
            if not await reports.delete_report(conn, _number(call)):
                raise not_found("There is no such report")
        return {}


def _number(call: Call) -> int:
    text = call.path["number"]
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 17 else 0
    if not 0 < number < _MAX_NUMBER:
        raise not_found("There is no such report")
    return number


def _told(kept: KeptReport) -> dict[str, Any]:
    report = kept.report
    return {
        "id": kept.number,
        "received_ts": report.received_ts,
        "user_id": kept.reporter,
        "room_id": report.room_id,
        "event_id": report.event_id,
        "sender": report.user_id,
        "reason": report.reason,
    }
