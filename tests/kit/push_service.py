"""A web push service and an app behind it: the service checks who speaks, the app alone can read [RFC 8030]."""

import asyncio
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web
from attrs import define, field
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from homeserver.services.pushing.web_push_message import point_of, text_of
from tests.kit.loopback import Authority

_CURVE = ec.SECP256R1()


@define(eq=False)
class WebApp:
    """What a browser makes when an app subscribes."""

    key: ec.EllipticCurvePrivateKey = field(factory=lambda: ec.generate_private_key(_CURVE))
    secret: bytes = field(factory=lambda: AESGCM.generate_key(128))

    @property
    def public_key(self) -> str:
        return text_of(point_of(self.key.public_key()))

    @property
    def auth(self) -> str:
        return text_of(self.secret)

    def read(self, body: bytes) -> bytes:
        """Decrypt a message [RFC 8188] [RFC 8291]."""
        salt, size, length = body[:16], int.from_bytes(body[16:20], "big"), body[20]
        theirs, sealed = body[21 : 21 + length], body[21 + length :]
        assert len(sealed) <= size
        agreed = self.key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, theirs))
        info = b"WebPush: info\0" + point_of(self.key.public_key()) + theirs
        keying = HKDF(SHA256(), 32, self.secret, info).derive(agreed)
        key = HKDF(SHA256(), 16, salt, b"Content-Encoding: aes128gcm\0").derive(keying)
        nonce = HKDF(SHA256(), 12, salt, b"Content-Encoding: nonce\0").derive(keying)
        padded = AESGCM(key).decrypt(nonce, sealed, None).rstrip(b"\0")
        assert padded.endswith(b"\2")
        return padded[:-1]


@define(eq=False)
class PushService:
    """What came for the app, decrypted. `vapid`: the only key whose messages are taken. `status`: the answer."""

    app: WebApp = field(factory=WebApp)
    vapid: str = ""
    url: str = ""
    status: int = 201
    told: list[dict[str, Any]] = field(factory=list)
    headers: list[dict[str, str]] = field(factory=list)
    attempts: int = 0
    _came: asyncio.Condition = field(factory=asyncio.Condition)

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        async with self._came:
            self.attempts += 1
            if self.status == 201:
                self._check(request)
                self.told.append(orjson.loads(self.app.read(body)))
                self.headers.append(dict(request.headers))
            self._came.notify_all()
        return web.Response(status=self.status)

    def _check(self, request: web.Request) -> None:
        """Is it the server that the app has subscribed for? [RFC 8292]"""
        scheme, _, given = request.headers["Authorization"].partition(" ")
        parts = dict(item.strip().split("=", 1) for item in given.split(","))
        assert (scheme, parts["k"]) == ("vapid", self.vapid)
        signed, _, signature = parts["t"].rpartition(".")
        raw = _bytes(signature)
        numbers = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        key = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, _bytes(parts["k"]))
        key.verify(encode_dss_signature(*numbers), signed.encode(), ec.ECDSA(SHA256()))
        claims = orjson.loads(_bytes(signed.partition(".")[2]))
        assert self.url.startswith(claims["aud"] + "/")
        assert claims["sub"].startswith("https://")

    async def until(self, count: int) -> list[dict[str, Any]]:
        """Wait until so many messages have come."""
        async with asyncio.timeout(15), self._came:
            await self._came.wait_for(lambda: len(self.told) >= count)
        return self.told

    async def until_asked(self, count: int) -> None:
        """Wait until it was asked so often, whatever it answered."""
        async with asyncio.timeout(15), self._came:
            await self._came.wait_for(lambda: self.attempts >= count)


@asynccontextmanager
async def push_service(authority: Authority) -> AsyncIterator[PushService]:
    """A running service."""
    service = PushService()
    app = web.Application()
    app.router.add_post("/push/subscription", service.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=authority.server_context("127.0.0.1:1"))
    await site.start()
    service.url = f"https://127.0.0.1:{runner.addresses[0][1]}/push/subscription"
    try:
        yield service
    finally:
        await runner.cleanup()


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
