"""What others call before they say that a user or an alias of ours is not there: a service may make it now."""

from collections.abc import Awaitable, Callable

Introduce = Callable[[str], Awaitable[None]]


async def nobody_comes(name: str) -> None:
    """Where there are no application services."""
