"""Client-Server API, "Content repository"."""

from typing import Any

from attrs import frozen

from client_api.served_media import MediaServing, Wanted
from homeserver.core.errors import not_found
from homeserver.services.media.labels import clean_name, label
from homeserver.services.media.uploads import Uploads
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result
from storage.media import Label

_MEDIA = "/_matrix/media"
_OLD = (f"{_MEDIA}/r0", f"{_MEDIA}/v1")  # clients from before the specification's version numbers


@frozen
class UploadsApi:
    """[cs "Content repository"]: what comes."""

    uploads: Uploads
    server_name: str

    def endpoints(self) -> list[Endpoint]:
        most = self.uploads.limits.upload_bytes
        return [
            Endpoint(
                "POST",
                f"{_MEDIA}/v3/upload",
                self.upload,
                also=tuple(f"{old}/upload" for old in _OLD),
                rate="other",
                stream=True,
                max_body=most,
            ),
            Endpoint("POST", f"{_MEDIA}/v1/create", self.create, rate="other", empty_body=True),
            Endpoint(
                "PUT",
                f"{_MEDIA}/v3/upload/{{serverName}}/{{mediaId}}",
                self.fill,
                rate="other",
                stream=True,
                max_body=most,
            ),
            Endpoint("GET", "/v1/media/config", self.config, auth=Auth.GUEST_OK),
            Endpoint(
                "GET",
                f"{_MEDIA}/v3/config",
                self.config,
                also=tuple(f"{old}/config" for old in _OLD),
                auth=Auth.GUEST_OK,
            ),
        ]

    async def upload(self, call: Call) -> Result:
        owner = call.requester.user_nid
        return {"content_uri": self._uri(await self.uploads.upload(owner, call.chunks(), _label(call)))}

    async def create(self, call: Call) -> Result:
        media_id, expires = await self.uploads.announce(call.requester.user_nid)
        return {"content_uri": self._uri(media_id), "unused_expires_at": expires}

    async def fill(self, call: Call) -> Result:
        if call.path["serverName"] != self.server_name:
            raise not_found("That media id is not one of this server")
        owner = call.requester.user_nid
        await self.uploads.fill(call.path["mediaId"], owner, call.chunks(), _label(call))
        return {}

    async def config(self, call: Call) -> Result:
        return {"m.upload.size": self.uploads.limits.upload_bytes}

    def _uri(self, media_id: str) -> str:
        return f"mxc://{self.server_name}/{media_id}"


@frozen
class DownloadsApi:
    """[cs "Content repository"]: what goes. The endpoints without a token are frozen [MSC3916]."""

    serving: MediaServing

    def endpoints(self) -> list[Endpoint]:
        return [
            *self._endpoints("/v1/media", (), Auth.GUEST_OK),
            *self._endpoints(f"{_MEDIA}/v3", _OLD, Auth.NONE),
        ]

    def _endpoints(self, below: str, also: tuple[str, ...], auth: Auth) -> list[Endpoint]:
        download, thumbnail = "/download/{serverName}/{mediaId}", "/thumbnail/{serverName}/{mediaId}"
        paths = (
            (download, self.download),
            (download + "/{fileName}", self.download),
            (thumbnail, self.thumbnail),
        )
        return [
            Endpoint(
                "GET",
                below + path,
                handler,
                also=tuple(old + path for old in also),
                auth=auth,
                rate="other" if auth is Auth.NONE else None,  # a room list comes with hundreds of faces
                long_poll=True,
            )
            for path, handler in paths
        ]

    async def download(self, call: Call) -> Result:
        return await self.serving.file(call, _wanted(call), clean_name(call.path.get("fileName")))

    async def thumbnail(self, call: Call) -> Result:
        return await self.serving.thumbnail(call, _wanted(call))


def _label(call: Call) -> Label:
    return label(call.header("Content-Type"), call.query.string("filename", None))


def _wanted(call: Call) -> Wanted:
    known = call.requester_or_none is not None
    asked: dict[str, Any] = {} if known else {"allow_remote": call.query.boolean("allow_remote", True)}
    return Wanted(
        call.path["serverName"],
        call.path["mediaId"],
        wait_ms=call.query.integer("timeout_ms", 20_000, least=0),
        authenticated=known,
        **asked,
    )
