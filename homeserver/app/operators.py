"""Who may use the operators' interface: administrators' accounts, and commands on the server's own machine."""

from attrs import field, frozen

from homeserver.app.config import Config
from homeserver.app.key_files import registration_secret
from homeserver.app.operator_proof import HEADER, holds
from homeserver.core.errors import MatrixError, forbidden
from homeserver.services.now import Clock, now_ms
from homeserver.web.call import Call


@frozen
class Operators:
    """For endpoints of Auth.OPTIONAL."""

    secret: str = field(repr=False)
    clock: Clock = now_ms

    def require(self, call: Call) -> None:
        """Refuse everybody else."""
        requester, proof = call.requester_or_none, call.header(HEADER)
        if requester is not None:
            if not requester.is_admin:
                raise forbidden("You are not an administrator of this server")
        elif not holds(self.secret, proof, method=call.method, target=call.raw_target, now=self.clock()):
            raise MatrixError(401, "M_MISSING_TOKEN", "Missing access token")


def operators(config: Config) -> Operators:
    """Those who can read the server's secret, and administrators."""
    return Operators(registration_secret(config))
