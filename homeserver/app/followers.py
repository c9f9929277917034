"""Followers of the clock: how they hear of commits."""

from homeserver.app.foundation import Foundation
from homeserver.services import guest_removal
from homeserver.services.commit_news import CommitNews
from homeserver.services.follower import Follower, Take
from homeserver.services.guest_removal import GuestRemoval
from homeserver.services.membership import Memberships


def follower(foundation: Foundation, name: str, types: tuple[str, ...], take: Take) -> Follower:
    """One who is told of commits with events of these types."""
    news = CommitNews(lambda batch: any(event.type in types for event in batch.events))
    foundation.followers.append(news)
    return Follower(name, types, take, foundation.database, news)


def guests(foundation: Foundation, memberships: Memberships) -> Follower:
    """Takes guests out of rooms that were closed to them."""
    removal = GuestRemoval(foundation.reader, memberships)
    return follower(foundation, "guests", guest_removal.TYPES, removal.take)
