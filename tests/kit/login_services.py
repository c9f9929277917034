"""Two small login services: a CAS server, and an OpenID Connect provider that signs with a key of its own."""

import hashlib
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiohttp import web
from attrs import define, field
from joserfc import jwt
from joserfc.jwk import ECKey

CLIENT_ID, SECRET = "homing", "between us"


def _key() -> ECKey:
    return ECKey.generate_key("P-256", {"kid": "k1", "use": "sig"})


@define(eq=False)
class LoginServices:
    """`person` is who sits at the browser. `claims` go over those of the id token, `answers` over whole answers."""

    url: str = ""
    person: dict[str, Any] = field(
        factory=lambda: {"sub": "7", "preferred_username": "Alice", "name": "Alice A."}
    )
    claims: dict[str, Any] = field(factory=dict)
    answers: dict[str, bytes] = field(factory=dict)
    key: ECKey = field(factory=_key)
    asked: list[dict[str, str]] = field(factory=list)  # what CAS was asked about
    codes: dict[str, dict[str, str]] = field(factory=dict)

    @property
    def issuer(self) -> str:
        return f"{self.url}/oidc"

    def code(self, way: str) -> dict[str, str]:
        """What a browser that was sent along `way` comes back with, once its person has logged in."""
        asked = {name: value[0] for name, value in parse_qs(urlsplit(way).query).items()}
        assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT_ID)
        assert asked["code_challenge_method"] == "S256"
        code = f"code{len(self.codes)}"
        self.codes[code] = asked
        return {"code": code, "state": asked["state"]}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path in self.answers:
            return web.Response(body=self.answers[path])
        if path.startswith("/cas/"):
            self.asked.append({"path": path, **request.query})
            return web.Response(body=self._ticket().encode(), content_type="text/xml")
        if path.endswith("/.well-known/openid-configuration"):
            names = {"authorization_endpoint": "authorize", "token_endpoint": "token"}
            names |= {"jwks_uri": "keys", "userinfo_endpoint": "userinfo"}
            document = {name: f"{self.issuer}/{place}" for name, place in names.items()}
            return web.json_response({"issuer": self.issuer, **document})
        if path.endswith("/keys"):
            return web.json_response({"keys": [{"kty": "odd"}, self.key.as_dict(private=False)]})
        if path.endswith("/userinfo"):
            assert request.headers["Authorization"] == "Bearer at"
            return web.json_response(self.person)
        assert path.endswith("/token"), path
        return self._token(request, dict(await request.post()))

    def _token(self, request: web.BaseRequest, form: dict[str, Any]) -> web.Response:
        asked = self.codes.pop(form["code"])
        pair = b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
        challenge = (
            urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).decode().rstrip("=")
        )
        good = pair == f"{CLIENT_ID}:{SECRET.replace(' ', '+')}" and challenge == asked["code_challenge"]
        if not good or form["redirect_uri"] != asked["redirect_uri"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 60, "nonce": asked["nonce"]}
        claims |= {"sub": self.person["sub"], "auth_time": now, **self.claims}
        claims = {name: value for name, value in claims.items() if value is not None}
        token = jwt.encode({"alg": "ES256", "kid": "k1"}, claims, self.key)
        return web.json_response({"access_token": "at", "token_type": "Bearer", "id_token": token})

    def _ticket(self) -> str:
        name = self.person["preferred_username"]
        return f"""<cas:serviceResponse xmlns:cas='http://www.yale.edu/tp/cas'><cas:authenticationSuccess>
            <cas:user>{name}</cas:user>
            <cas:attributes><cas:displayName>{self.person["name"]}</cas:displayName></cas:attributes>
            </cas:authenticationSuccess></cas:serviceResponse>"""


@asynccontextmanager
async def login_services() -> AsyncIterator[LoginServices]:
    """Serve until the end of the block."""
    services = LoginServices()
    runner = web.ServerRunner(web.Server(services.handle))
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        services.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield services
    finally:
        await runner.cleanup()
