"""Single sign-on by CAS: the browser comes back with a ticket, which the CAS server is asked about.

CAS carries no state: what we need to know stands in the service's own URL, and the browser that set out is known by a
cookie. Who proves something again must give their password again (`renew`), so that a link alone proves nothing.
"""

from collections.abc import Mapping
from urllib.parse import urlencode

import structlog
from attrs import frozen

from homeserver.core.errors import forbidden, missing_param
from homeserver.services.sso.asking import Asked, ask
from homeserver.services.sso.cas_xml import NotCas, read_person
from homeserver.services.sso.providers import Description, Person, Trip

log = structlog.get_logger(__name__)

# COMPAT(CAS servers that list the addresses of services): the path that other homeservers have always had.
TICKET = "/_matrix/client/r0/login/cas/ticket"
_MAX_TICKET = 512


@frozen
class Cas:
    """A CAS server. `validate` is the path at which it is asked, `base_url` where browsers reach us."""

    about: Description
    url: str
    base_url: str
    validate: str = "p3/serviceValidate"
    first: bool = True  # of several: the one that tickets are from when nothing else is said

    def kept_as(self, trip: Trip) -> str:
        """CAS brings no state back, but where we have told it to come back to."""
        return f"{trip.provider} {trip.client or trip.session}"

    async def way(self, trip: Trip) -> str:
        asked = {"service": self._service(trip), **self._renewal(trip)}
        return f"{self.url}/login?{urlencode(asked)}"

    async def person(self, trip: Trip, said: Mapping[str, str]) -> Person:
        ticket = said.get("ticket", "")
        if not ticket or len(ticket) > _MAX_TICKET:
            raise missing_param("ticket")
        asked = {"ticket": ticket, "service": self._service(trip), **self._renewal(trip)}
        content = await ask(Asked("GET", f"{self.url}/{self.validate}?{urlencode(asked)}"))
        try:
            user, attributes = read_person(content)
        except NotCas as cause:
            log.info("a CAS ticket was no good", provider=self.about.id, why=str(cause))
            raise forbidden("The login service does not confirm who you are: please start again") from cause
        return Person(user, {"user": user, **attributes})

    def _service(self, trip: Trip) -> str:
        told = {"redirectUrl": trip.client} if trip.client else {"session": trip.session}
        more = {} if self.first else {"provider": self.about.id}
        return f"{self.base_url}{TICKET}?{urlencode({**told, **more})}"

    def _renewal(self, trip: Trip) -> dict[str, str]:
        return {"renew": "true"} if trip.session else {}
