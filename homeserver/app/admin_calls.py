"""How commands speak to the running server of their data folder."""

import json
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import click
from attrs import frozen

from homeserver.app.config import Config
from homeserver.app.operator_proof import HEADER, prove
from homeserver.app.options import Failure, Place
from homeserver.app.running import local_url, running_url
from homeserver.services.now import now_ms

_TIMEOUT = 30.0

url_option = click.option(
    "--url", help="Where the server is [default: where the one with this data folder listens]."
)


@frozen
class Operator:
    """Who may read the data folder's secret, and asks the server with it."""

    url: str
    secret: str

    @classmethod
    def at(cls, place: Place, url: str | None) -> "Operator":
        """The one of this data folder; `url` where its server is reached otherwise."""
        config = place.load()
        return cls(server_url(config, url), shared_secret(config))

    def ask(self, method: str, target: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request. `target` is path and query."""
        proof = prove(self.secret, method, target, now_ms())
        return call(self.url + target, body, {HEADER: proof}, method=method)


def server_url(config: Config, url: str | None) -> str:
    """`url`, or where the server with this data folder listens."""
    return (url or running_url(config.server.folder) or local_url(config.server.listen)).rstrip("/")


def shared_secret(config: Config) -> str:
    """What proves that the caller may read the server's files."""
    path: Path = config.server.folder / config.registration.shared_secret_file
    try:
        return path.read_text().strip()
    except FileNotFoundError as cause:
        raise Failure(
            f"{path} is not there: start the server first, or name its data folder with --data"
        ) from cause
    except OSError as cause:
        raise Failure(
            f"{path} cannot be read ({cause.strerror}): do this as the user who runs the server"
        ) from cause


def call(
    url: str,
    body: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
    *,
    method: str | None = None,
) -> dict[str, Any]:
    """GET, or POST of a body, unless there is a `method`."""
    if not url.startswith(("http://", "https://")):
        raise Failure(f"{url} is no http or https URL")
    data = json.dumps(body).encode() if body is not None else None
    told = {"Content-Type": "application/json", **(headers or {})}
    request = Request(url, data=data, headers=told, method=method)  # noqa: S310 (checked above)
    try:
        with urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310 (checked above)
            answer: dict[str, Any] = json.load(response)
            return answer
    except HTTPError as cause:
        raise Failure(f"the server refused: {_message(cause)}") from cause
    except (URLError, TimeoutError, ValueError) as cause:
        reason = getattr(cause, "reason", cause)
        raise Failure(f"no server answers at {request.full_url} ({reason}): is it running?") from cause


def _message(error: HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError, TypeError):
        return f"status {error.code}"
