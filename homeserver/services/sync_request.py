"""What a client asked of /sync, and what is at hand to answer it."""

from attrs import frozen

from homeserver.core.sync_view import DEFAULT_LIMIT, EVERYTHING, FIRST_LIMIT, View
from homeserver.core.tokens import SyncToken
from homeserver.services.client_events import Audience
from homeserver.services.notifier import ActiveUser


@frozen
class Style:
    """How the answer is laid out: `state_name` is "state", "state_after" or its unstable name."""

    state_name: str = "state"
    full_state: bool = False

    @property
    def legacy(self) -> bool:
        """Does state come before the timeline, instead of after it?"""
        return self.state_name == "state"


@frozen(kw_only=True)
class SyncRequest:
    """One request, without its waiting."""

    user_id: str
    user: ActiveUser
    device_nid: int | None
    since: SyncToken | None = None
    view: View = EVERYTHING
    style: Style = Style()

    @property
    def position(self) -> int:
        """Up to where the client knows everything; 0: it knows nothing."""
        return 0 if self.since is None else self.since.position

    @property
    def peeker(self) -> ActiveUser | None:
        """Who is in the rooms that the device looks into from outside, if there are any."""
        peeking = self.user.peeking
        return peeking.get(self.device_nid) if peeking and self.device_nid is not None else None

    @property
    def peeks_nowhere_new(self) -> bool:
        """Is there surely nothing new in the rooms that the device looks into from outside?"""
        if self.user.peeking is None:
            return False
        return self.peeker is None or self.peeker.is_quiet_since(self.position)

    @property
    def limit(self) -> int:
        """How many events a timeline has at most; a first sync that wishes nothing is a short one."""
        if self.view.room.limit is not None:
            return self.view.room.limit
        return DEFAULT_LIMIT if self.position else FIRST_LIMIT

    @property
    def audience(self) -> Audience:
        """Who reads."""
        return Audience(self.user.user_nid, self.device_nid)
