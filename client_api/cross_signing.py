"""Client-Server API, "Cross-signing"."""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from client_api.device_keys import owner_of
from homeserver.core.errors import bad_json
from homeserver.services.auth_stages import PASSWORD
from homeserver.services.cross_signing import USAGES, CrossSigning, Plan
from homeserver.services.interactive_auth import Ask, Flows, InteractiveAuth
from homeserver.services.key_signatures import KeySignatures
from homeserver.services.oauth.account_proofs import OAUTH, OLD_OAUTH, AccountProofs
from homeserver.web.call import Call
from homeserver.web.endpoint import Endpoint
from homeserver.web.reply import Result

_BY_PASSWORD: Flows = ((PASSWORD,),)
_ON_OUR_PAGE: Flows = ((OAUTH,), (OLD_OAUTH,))


@frozen
class CrossSigningApi:
    """[cs "Cross-signing"]"""

    cross_signing: CrossSigning
    signatures: KeySignatures
    interactive_auth: InteractiveAuth
    proofs: AccountProofs

    def endpoints(self) -> list[Endpoint]:
        keys, signatures = "/keys/device_signing/upload", "/keys/signatures/upload"
        return [
            Endpoint("POST", f"/v3{keys}", self.upload, also=(f"/unstable{keys}",), rate="other"),
            Endpoint("POST", f"/v3{signatures}", self.sign, also=(f"/unstable{signatures}",), rate="other"),
        ]

    async def upload(self, call: Call) -> Result:
        body: Mapping[str, Any] = call.body
        plan: Plan | None = None
        if "auth" not in body or any(name in body for name in USAGES):
            plan = await self.cross_signing.plan(owner_of(call), body)
        # An application service has no password to prove itself by [cs "POST /keys/device_signing/upload"].
        if plan is None or (plan.needs_proof and call.requester.appservice is None):
            plan = await self.cross_signing.plan(owner_of(call), await self._proven(call))
        await self.cross_signing.publish(plan)
        return {}

    async def _proven(self, call: Call) -> Mapping[str, Any]:
        """The request, once its user has given proof: a password, or on our page [cs "OAuth authentication"]."""
        user_id, flows = call.requester.user_id, _BY_PASSWORD
        if await self.proofs.is_oauth(call.requester.device_nid):
            flows = _ON_OUR_PAGE
            auth = call.body.get("auth")
            session = auth.get("session") if isinstance(auth, dict) else None
            if isinstance(session, str) and await self.proofs.spend_reset(call.requester.user_nid):
                await self.interactive_auth.complete_stage(session, OAUTH, {})
        purpose = f"publish cross-signing keys of {user_id}"
        ask = Ask(purpose=purpose, body=call.body, flows=flows, user_id=user_id)
        return (await self.interactive_auth.pass_through(ask)).request

    async def sign(self, call: Call) -> Result:
        for user_id, keys in call.body.items():
            if not isinstance(keys, dict):
                raise bad_json(f"The keys of {user_id[:255]} must be an object")
        return {"failures": await self.signatures.upload(owner_of(call), call.body)}
