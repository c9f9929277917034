"""Client-Server API, "API Versions": what this server speaks, honestly."""

from attrs import frozen

from homeserver.web.call import Call
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.reply import Result

VERSIONS = ("r0.6.1", *(f"v1.{minor}" for minor in range(1, 20)))
UNSTABLE = {
    "org.matrix.simplified_msc3575": True,  # [MSC4186]
    "org.matrix.msc2753": True,  # peeking
    "org.matrix.msc3026.busy_presence": True,
    "org.matrix.msc4140": True,  # delayed events
    "org.matrix.msc4140.stable": True,
    "org.matrix.msc4155": True,  # invite permissions
    "org.matrix.msc4262": True,  # profiles in sliding sync
    "org.matrix.msc4306": True,  # thread subscriptions
    "org.matrix.msc4308": True,  # the same in sliding sync
    "org.matrix.msc4380.stable": True,
    "org.matrix.msc4174": True,  # web push
    "uk.half-shot.msc2666.query_mutual_rooms.stable": True,
    "uk.timedout.msc4323": True,  # locking and suspending accounts
}


@frozen
class VersionsApi:
    """GET /versions. `qr_login`: may devices log each other in?"""

    qr_login: bool

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("GET", "/_matrix/client/versions", self.versions, auth=Auth.OPTIONAL)]

    async def versions(self, call: Call) -> Result:
        return {
            "versions": list(VERSIONS),
            "unstable_features": {**UNSTABLE, "org.matrix.msc4108": self.qr_login},
        }
