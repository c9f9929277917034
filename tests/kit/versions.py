"""A story told in several room versions by one server: a start for each of them would take longer than the story."""

from collections.abc import Awaitable, Callable, Iterable

from homeserver.core.room_versions import ROOM_VERSIONS, RoomVersion

ALL = tuple(ROOM_VERSIONS.values())
KNOCKING = tuple(version for version in ALL if version.knock)
RESTRICTED = tuple(version for version in ALL if version.restricted)


async def in_each(versions: Iterable[RoomVersion], story: Callable[[RoomVersion], Awaitable[None]]) -> None:
    """Tell it in each; a failure names the version."""
    for version in versions:
        try:
            await story(version)
        except BaseException as failure:
            failure.add_note(f"in room version {version.name}")
            raise
