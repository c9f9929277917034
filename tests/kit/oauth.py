"""A client that speaks OAuth 2.0, and a server that it can find."""

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from attrs import define, evolve

from tests.kit.server import PASSWORD, Answer, Client, RunningServer, plain_config, running
from tests.kit.visitor import Visitor

BASE = "http://homing.example"
REDIRECT = "https://app.example.com/callback"
VERIFIER = "ogie4iVaeteeKeeLaid0aizuimairaCh-" * 2
CHALLENGE = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
METADATA = {
    "client_name": "My <App>",
    "client_uri": "https://example.com/",
    "redirect_uris": [REDIRECT],
    "grant_types": ["authorization_code", "refresh_token", DEVICE_GRANT],
}


def scope(device_id: str) -> str:
    return f"urn:matrix:client:api:* urn:matrix:client:device:{device_id}"


@define(eq=False)
class Application:
    """A client that speaks OAuth."""

    server: RunningServer
    client_id: str
    told: dict[str, str]  # the metadata

    @classmethod
    async def of(cls, server: RunningServer, **metadata: Any) -> "Application":
        told = await server.anonymous().get("/v1/auth_metadata")
        base = server.config.server.public_baseurl
        path = told["registration_endpoint"].removeprefix(base)
        answer = await server.anonymous().ask("POST", path, {**METADATA, **metadata})
        assert answer.status == 201, answer.content
        return cls(server, answer.json["client_id"], told)

    def request(self, device_id: str = "AAABBBCCCDDD", **change: str) -> str:
        """Where it leads its user."""
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": REDIRECT,
            "scope": scope(device_id),
            "state": "s t",
            "response_mode": "fragment",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        return f"{self.path('authorization_endpoint')}?{urlencode({**asked, **change})}"

    def path(self, name: str) -> str:
        return self.told[name].removeprefix(self.server.config.server.public_baseurl)

    async def post(self, name: str, **values: str) -> Answer:
        """A form to one of the endpoints."""
        given = {"client_id": self.client_id, **values}
        url = self.server.url + self.path(name)
        async with self.server.http.post(url, data=given) as response:
            return Answer(response.status, response.headers, await response.read())

    async def exchange(self, code: str, **change: str) -> Answer:
        given = {"code": code, "redirect_uri": REDIRECT, "code_verifier": VERIFIER, **change}
        return await self.post("token_endpoint", **{"grant_type": "authorization_code", **given})

    def client(self, answer: Answer) -> Client:
        assert answer.status == 200, answer.content
        return Client(self.server.url, self.server.http, token=answer.json["access_token"])

    async def log_in(self, visitor: Visitor, name: str, device_id: str = "AAABBBCCCDDD") -> Answer:
        """The whole way."""
        await visitor.open(self.request(device_id))
        await visitor.press("login", name=name, password=PASSWORD)
        await visitor.press("allow")
        return await self.exchange(led(visitor)["code"])


def led(visitor: Visitor) -> dict[str, str]:
    """What the application is told in the fragment."""
    address, _, told = visitor.at.partition("#")
    assert address == REDIRECT
    return dict(parse_qsl(told))


def visitor(server: RunningServer) -> Visitor:
    return Visitor(server.url, server.http)


@pytest.fixture
async def oauth(pg_url, tmp_path):
    """A server that knows where it is."""
    config = plain_config(tmp_path)
    config = evolve(config, server=evolve(config.server, public_baseurl=BASE))
    async with running(pg_url, config) as server:
        yield server
