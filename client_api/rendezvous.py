"""Where two devices meet of which one is to be logged in by the other, as clients use it today [MSC4108]."""

from email.utils import formatdate

from attrs import frozen

from homeserver.core.errors import MatrixError, invalid_param, missing_param
from homeserver.services.rendezvous import MAX_CONTENT, Rendezvous
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Reply, Result
from storage.rendezvous import Session

PATH = "/unstable/org.matrix.msc4108/rendezvous"
_PLACE = f"{PATH}/{{sessionId}}"
_TEXT = "text/plain"


@frozen
class RendezvousApi:
    """[MSC4108] `base_url`: where clients reach us."""

    rendezvous: Rendezvous
    base_url: str

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint(
                "POST", PATH, self.begin, auth=Auth.NONE, rate="other", stream=True, max_body=MAX_CONTENT
            ),
            Endpoint("GET", _PLACE, self.read, auth=Auth.NONE),
            Endpoint("PUT", _PLACE, self.write, auth=Auth.NONE, stream=True, max_body=MAX_CONTENT),
            Endpoint("DELETE", _PLACE, self.end, auth=Auth.NONE, empty_body=True),
        ]

    async def begin(self, call: Call) -> Result:
        name, session = await self.rendezvous.begin(await _content(call))
        return Reply(201, {"url": f"{self.base_url}/_matrix/client{PATH}/{name}"}, _headers(session))

    async def read(self, call: Call) -> Result:
        session = await self.rendezvous.read(call.path["sessionId"])
        if call.header("If-None-Match") == _tag(session):
            return Reply(304, b"", _headers(session), _TEXT)
        return Reply(200, session.content, _headers(session), _TEXT)

    async def write(self, call: Call) -> Result:
        seen = call.header("If-Match")
        if not seen:
            raise missing_param("If-Match")
        content, revision = await _content(call), seen.strip('"')
        if not revision.isascii() or not revision.isdigit() or len(revision) > 9:
            raise MatrixError(412, "M_CONCURRENT_WRITE", "If-Match is not an ETag of this place")
        session = await self.rendezvous.write(call.path["sessionId"], content, int(revision))
        return Reply(202, b"", _headers(session), _TEXT)

    async def end(self, call: Call) -> Result:
        await self.rendezvous.end(call.path["sessionId"])
        return Reply(204, b"", {}, _TEXT)


async def _content(call: Call) -> bytes:
    """Raises M_INVALID_PARAM for what is no text, M_TOO_LARGE."""
    if call.header("Content-Type").partition(";")[0].strip() != _TEXT:
        raise invalid_param(f"The content must be {_TEXT}")
    return b"".join([chunk async for chunk in call.chunks()])


def _tag(session: Session) -> str:
    return f'"{session.revision}"'


def _headers(session: Session) -> dict[str, str]:
    return {
        "ETag": _tag(session),
        "Expires": formatdate(session.expires_ts / 1000, usegmt=True),
        "Cache-Control": "no-store, no-transform",
        "Pragma": "no-cache",
    }
