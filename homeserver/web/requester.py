"""Who is asking: the account behind an access token, as every handler sees it."""

from attrs import frozen


@frozen(kw_only=True)
class Requester:
    """The authenticated caller. The `nid` are our own numbers for the account and its device.

    `appservice` names the application service that speaks for the user, if one does. `rate_limited`: do the limits of
    calls count for this caller?
    """

    user_id: str
    user_nid: int
    device_id: str | None = None
    device_nid: int | None = None
    token_id: int | None = None
    is_guest: bool = False
    is_admin: bool = False
    is_suspended: bool = False
    appservice: str | None = None
    rate_limited: bool = True
