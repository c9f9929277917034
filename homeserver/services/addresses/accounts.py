"""The addresses of accounts [cs "Adding Account Administrative Contact Information"]."""

from collections.abc import Mapping
from typing import Any, Protocol

import structlog
from attrs import frozen

from homeserver.core.email_addresses import canonical_email
from homeserver.core.errors import MatrixError
from homeserver.services.addresses.validation import ADD, EMAIL, AddressValidation
from homeserver.services.now import Clock, now_ms
from storage import addresses as rows
from storage.addresses import Address
from storage.database import Database

log = structlog.get_logger(__name__)


@frozen
class Binding:
    """Which user has an address, as an identity server is told. `server` is where it is told."""

    server: str
    user_id: str
    medium: str
    address: str


class Unbind(Protocol):
    """Tells an identity server that a user has an address no longer; False where it does not do that."""

    async def __call__(self, binding: Binding) -> bool: ...


@frozen
class AccountAddresses:
    """Reads and changes them."""

    database: Database
    validation: AddressValidation
    unbind: Unbind
    clock: Clock = now_ms

    async def all(self, user_nid: int) -> list[dict[str, Any]]:
        """As they are told."""
        async with self.database.read() as conn:
            found = await rows.addresses_of(conn, user_nid)
        return [
            {
                "medium": one.medium,
                "address": one.address,
                "validated_at": one.validated_ts,
                "added_at": one.added_ts,
            }
            for one in found
        ]

    async def add(self, user_nid: int, credentials: Mapping[str, object]) -> None:
        """Add an address that the user has proved. Raises M_THREEPID_AUTH_FAILED, M_THREEPID_IN_USE."""
        proven = await self.validation.proven(credentials, (ADD,))
        address = Address(proven.medium, proven.address, proven.validated_ts, self.clock())
        await self.validation.use_up(proven)
        async with self.database.writer() as conn:
            if not await rows.add_address(conn, user_nid, address):
                raise in_use()

    async def remove(
        self, user_nid: int, user_id: str, *, medium: str, address: str, server: str | None
    ) -> bool:
        """Take an address off the account, and its binding back; says whether that could be done everywhere."""
        address = _canonical(medium, address)
        async with self.database.writer() as conn:
            await rows.remove_address(conn, user_nid, medium, address)
        return await self.take_back(user_nid, user_id, medium=medium, address=address, server=server)

    async def take_back(
        self,
        user_nid: int,
        user_id: str,
        *,
        medium: str | None = None,
        address: str | None = None,
        server: str | None = None,
    ) -> bool:
        """Tell identity servers that they are to forget the user: `server`, or all that were told through us."""
        if medium is not None and address is not None:
            address = _canonical(medium, address)
        async with self.database.read() as conn:
            known = await rows.bindings(conn, user_nid, medium, address)
        wanted = [one for one in known if server in (None, one[2])]
        if server is not None and medium is not None and address is not None and not wanted:
            wanted = [(medium, address, server)]
        done = [await self._taken_back(user_nid, Binding(one[2], user_id, one[0], one[1])) for one in wanted]
        return bool(done) and all(done)

    async def forget(self, user_nid: int, user_id: str) -> bool:
        """An account ends: it has no addresses any more. False where an identity server still knows one."""
        async with self.database.read() as conn:
            bound = await rows.bindings(conn, user_nid)
        done = await self.take_back(user_nid, user_id) if bound else True
        async with self.database.writer() as conn:
            await rows.remove_addresses(conn, user_nid)
        return done

    async def _taken_back(self, user_nid: int, binding: Binding) -> bool:
        try:
            done = await self.unbind(binding)
        except MatrixError as refusal:
            log.info("an identity server takes nothing back", server=binding.server, why=str(refusal))
            return False
        if done:
            async with self.database.writer() as conn:
                await rows.remove_binding(conn, user_nid, binding.medium, binding.address, binding.server)
        return done


def in_use() -> MatrixError:
    """The address is another account's [cs "POST /account/3pid"]."""
    return MatrixError(400, "M_THREEPID_IN_USE", "Another account has this address")


def _canonical(medium: str, address: str) -> str:
    return (canonical_email(address) or address) if medium == EMAIL else address
