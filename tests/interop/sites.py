"""Servers in processes of their own, whoever wrote them, as federation's stories use them."""

import itertools
from typing import Protocol

import aiohttp
from attrs import define

from tests.interop.follower import Follower
from tests.kit.server import PASSWORD, Client

_names = itertools.count(1)


class Process(Protocol):
    """What can be started and stopped."""

    @property
    def name(self) -> str: ...
    @property
    def url(self) -> str: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...


@define(eq=False)
class Site:
    """A running process, and users on it."""

    process: Process
    http: aiohttp.ClientSession

    @property
    def name(self) -> str:
        return self.process.name

    async def user(self, name: str) -> Follower:
        """A new user, whose name is a little longer than that."""
        nobody = Client(self.process.url, self.http)
        body = {
            "username": f"{name}{next(_names)}",
            "password": PASSWORD,
            "auth": {"type": "m.login.dummy"},
        }
        said = await nobody.post("/v3/register", body)
        token = said["access_token"]
        return Follower(Client(nobody.url, self.http, said["user_id"], said["device_id"], token))


@define(eq=False)
class Pair:
    """The server on which a story's room is made, and the one that comes to it."""

    here: Site
    there: Site
