"""What operators ask of a running server about policy lists: who is where in spite of them, and to put those out."""

from typing import Any

from attrs import frozen

from homeserver.app.operators import Operators
from homeserver.core.errors import missing_param
from homeserver.services.policy_enforcement import PolicyEnforcement
from homeserver.web import fields
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result
from storage.policy_rules import Seat

PATH = "/_synapse/admin/v1/policy_lists/enforce"
_SHOWN = 1_000


@frozen
class PolicyAdmin:
    """Enforcement, in the name of the administrator who asks, or of another one."""

    enforcement: PolicyEnforcement
    operators: Operators

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("POST", PATH, self.enforce, auth=Auth.OPTIONAL, empty_body=True)]

    async def enforce(self, call: Call) -> Result:
        self.operators.require(call)
        requester = call.requester_or_none
        user_id = call.optional("user_id", str) or (requester.user_id if requester is not None else None)
        if user_id is None:
            raise missing_param("user_id")
        moderator = await self.enforcement.moderator(user_id)
        seats = await self.enforcement.found(moderator)
        if (last := call.optional("from", dict)) is not None:
            after = Seat(fields.required(last, "room_id", str), fields.required(last, "user_id", str))
            seats = [seat for seat in seats if seat > after]
        if call.optional("dry_run", bool, False):
            return {"total": len(seats), "found": [_told(seat) for seat in seats[:_SHOWN]]}
        done = await self.enforcement.enforce(moderator, seats)
        answer: dict[str, Any] = {
            "banned": [_told(seat) for seat in done.banned],
            "refused": [{**_told(seat), "error": why} for seat, why in done.refused],
        }
        return answer if done.next is None else {**answer, "next": _told(done.next)}


def _told(seat: Seat) -> dict[str, str]:
    return {"room_id": seat.room_id, "user_id": seat.user_id}
