"""The users that application services are themselves: there without being registered [as "Registration"]."""

import structlog

from homeserver.core.application_services import ApplicationService, ApplicationServices
from homeserver.services.now import Clock, now_ms
from storage.accounts import Account, find_account, insert_account
from storage.database import Connection, Database
from storage.state_keys import StateKeys

log = structlog.get_logger(__name__)


async def make_senders(
    database: Database, state_keys: StateKeys, services: ApplicationServices, clock: Clock = now_ms
) -> None:
    """Give an account to those that have none, without a password."""
    for service in services.all:
        user_nid = await state_keys.user_nid(service.sender)
        async with database.transaction() as conn:
            await _make(conn, service, user_nid, clock())


async def _make(conn: Connection, service: ApplicationService, user_nid: int, now: int) -> None:
    account = Account(
        user_nid=user_nid,
        user_id=service.sender,
        password_hash=None,
        admin=False,
        guest=False,
        deactivated=False,
        locked=False,
        suspended=False,
        appservice_id=service.id,
        created_ts=now,
    )
    if await insert_account(conn, account):
        return
    known = await find_account(conn, (service.sender,))
    if known is not None and known.appservice_id != service.id:
        log.warning("an application service uses an existing account", id=service.id, user=service.sender)
