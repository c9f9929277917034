"""Writes mails about what stays unread: one for all of it, not at once, and the more seldom the less the user reads."""

from collections.abc import Callable, Sequence
from urllib.parse import urlencode

from attrs import frozen

from homeserver.core.email_addresses import canonical_email
from homeserver.services.addresses.mailer import Mailer
from homeserver.services.push_contents import Letter
from homeserver.services.pushing.digest_mail import Digest, digest
from storage import addresses, pushers
from storage.database import Database
from storage.pushers import Pusher

UNSUBSCRIBE = "/_matrix/homing/unsubscribe"
LONGEST_MS = 24 * 3600 * 1000  # between two mails of which none was answered by reading
FACTOR = 3


@frozen
class Digests:
    """`delay_ms`: for how long something has to stay unread."""

    database: Database
    mailer: Mailer
    base_url: str
    server_name: str
    delay_ms: int
    clock: Callable[[], int]

    async def wanted(self, pusher: Pusher) -> bool:
        """Is the address still the user's?"""
        async with self.database.read() as conn:
            known = await addresses.addresses_of(conn, pusher.user_nid)
        wanted = ("email", canonical_email(pusher.wish.pushkey))
        return any((one.medium, one.address) == wanted for one in known)

    def due(self, pusher: Pusher, letters: Sequence[Letter]) -> int:
        """When it is time for a mail about these."""
        first = letters[0].ts if letters[0].ts <= self.clock() else 0  # others' clocks may be wrong
        unanswered = _unanswered(pusher, letters)
        pause: int = min(self.delay_ms * FACTOR**unanswered, LONGEST_MS)
        return max(first + self.delay_ms, (pusher.last_success_ts or 0) + pause)

    async def send(self, pusher: Pusher, letters: Sequence[Letter], *, more: bool) -> None:
        """Hand a mail over, and note that. Raises M_UNKNOWN where the mail server does not take it."""
        written = digest(
            Digest(
                self.server_name,
                self._link(pusher),
                [letter.body["notification"] for letter in letters],
                more,
            )
        )
        headers = {
            "List-Unsubscribe": f"<{self._link(pusher)}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",  # [RFC 8058]
        }
        await self.mailer.send(
            pusher.wish.pushkey, written.subject, written.text, html=written.html, headers=headers
        )
        async with self.database.writer() as conn:
            await pushers.mailed(conn, pusher.nid, _unanswered(pusher, letters) + 1)

    def _link(self, pusher: Pusher) -> str:
        token = pusher.token.text if pusher.token else ""
        return f"{self.base_url}{UNSUBSCRIBE}?" + urlencode({"pusher": pusher.nid, "token": token})


def _unanswered(pusher: Pusher, letters: Sequence[Letter]) -> int:
    """Mails since the user has read something: then there is less unread than the last one told, and these."""
    return 0 if letters[-1].unread < pusher.badge + len(letters) else min(pusher.mails, 10)
