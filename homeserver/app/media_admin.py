"""What operators do with media, at the paths that existing tools use."""

from attrs import frozen

from homeserver.app.operators import Operators
from homeserver.services.media.library import media_name
from homeserver.services.media.removal import Removal
from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result
from storage.media import MediaName

_PATH = "/_synapse/admin/v1/media"


@frozen
class MediaAdmin:
    """Quarantine, release, delete."""

    removal: Removal
    operators: Operators
    server_name: str

    def endpoints(self) -> list[Endpoint]:
        one = "{serverName}/{mediaId}"
        return [
            Endpoint(
                "POST", f"{_PATH}/quarantine/{one}", self.quarantine, auth=Auth.OPTIONAL, empty_body=True
            ),
            Endpoint(
                "POST", f"{_PATH}/unquarantine/{one}", self.release, auth=Auth.OPTIONAL, empty_body=True
            ),
            Endpoint("DELETE", f"{_PATH}/{one}", self.delete, auth=Auth.OPTIONAL, empty_body=True),
            Endpoint(
                "POST",
                "/_synapse/admin/v1/purge_media_cache",
                self.delete_copies,
                auth=Auth.OPTIONAL,
                empty_body=True,
            ),
        ]

    async def quarantine(self, call: Call) -> Result:
        return {"num_quarantined": await self.removal.quarantine(self._name(call))}

    async def release(self, call: Call) -> Result:
        await self.removal.release(self._name(call))
        return {}

    async def delete(self, call: Call) -> Result:
        name = self._name(call)
        await self.removal.delete(name)
        return {"deleted_media": [name.media_id], "total": 1}

    async def delete_copies(self, call: Call) -> Result:
        self.operators.require(call)
        return {"deleted": await self.removal.delete_copies(call.query.integer("before_ts", least=0))}

    def _name(self, call: Call) -> MediaName:
        self.operators.require(call)
        return media_name(call.path["serverName"], call.path["mediaId"], self.server_name)
