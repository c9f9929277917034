"""An identity server in the tests: knows who has which address, keeps invitations, signs what it says."""

import ssl
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

from aiohttp import web
from attrs import define, field
from signedjson.key import encode_verify_key_base64, generate_signing_key, get_verify_key
from signedjson.sign import sign_json
from signedjson.types import SigningKey

from federation.protocol import x_matrix

PEPPER = "pepper"
TOKEN = "id_token"


@define(eq=False)
class IdentityServer:
    """`known`: address -> user id; `kept`: invitations; `bound` and `unbound`: what it was told."""

    name: str
    key: SigningKey = field(factory=lambda: generate_signing_key("0"))
    known: dict[str, str] = field(factory=dict)
    kept: list[dict[str, Any]] = field(factory=list)
    bound: list[dict[str, Any]] = field(factory=list)
    unbound: list[tuple[str, dict[str, Any]]] = field(factory=list)
    answers: dict[str, Any] = field(factory=dict)  # instead of its own, by the end of the path
    revoked: bool = False  # its key is good no more

    @property
    def public_key(self) -> str:
        return encode_verify_key_base64(get_verify_key(self.key))

    def signed(self, user_id: str, token: str) -> dict[str, Any]:
        """Its word that a user has the address of an invitation."""
        said: dict[str, Any] = sign_json({"mxid": user_id, "token": token}, self.name, self.key)
        return said

    async def handle(self, request: web.Request) -> web.Response:
        part = request.path.removeprefix("/_matrix/identity/v2/")
        if part in self.answers:
            status, body = self.answers[part]
            return web.json_response(body, status=status)
        body = await request.json() if request.can_read_body else {}
        if part == "3pid/unbind":
            self.unbound.append((x_matrix.parse(request.headers["Authorization"]).origin, body))
            return web.json_response({})
        if part == "pubkey/isvalid":
            valid = not self.revoked and request.query["public_key"] == self.public_key
            return web.json_response({"valid": valid})
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"errcode": "M_UNAUTHORIZED", "error": "Who are you?"}, status=401)
        return web.json_response(self._answer(part, body))

    def _answer(self, part: str, body: dict[str, Any]) -> dict[str, Any]:
        if part == "hash_details":
            return {"algorithms": ["none", "sha256"], "lookup_pepper": PEPPER}
        if part == "lookup":
            hashes = {_hashed(address): user_id for address, user_id in self.known.items()}
            return {"mappings": {one: hashes[one] for one in body["addresses"] if one in hashes}}
        if part == "store-invite":
            self.kept.append(body)
            url = f"https://{self.name}/_matrix/identity/v2/pubkey/isvalid"
            keys = [{"public_key": self.public_key, "key_validity_url": url}]
            return {"token": f"token{len(self.kept)}", "public_keys": keys, "display_name": "b...@e..."}
        assert part == "3pid/bind", part
        self.bound.append(body)
        return {"medium": "email", "address": "alice@example.org", "mxid": body["mxid"]}


def _hashed(address: str) -> str:
    digest = sha256(f"{address} email {PEPPER}".encode()).digest()
    return urlsafe_b64encode(digest).decode().rstrip("=")


@asynccontextmanager
async def running_identity_server(name: str, tls: ssl.SSLContext) -> AsyncIterator[IdentityServer]:
    """Serve until the end of the block."""
    server = IdentityServer(name)
    runner = web.ServerRunner(web.Server(server.handle))
    await runner.setup()
    host, _, port = name.rpartition(":")
    try:
        await web.TCPSite(runner, host, int(port), ssl_context=tls).start()
        yield server
    finally:
        await runner.cleanup()
