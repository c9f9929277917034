"""Homing and Synapse share rooms: every story with the room on the one side, and on the other."""

import pytest

from tests.interop.sites import Pair
from tests.interop.stories.partitions import PartitionStories
from tests.interop.stories.people import PeopleStories
from tests.interop.stories.rooms import RoomStories

pytestmark = [pytest.mark.synapse, pytest.mark.timeout(180)]


class FromOurs:
    """The room is made here."""

    @pytest.fixture
    def pair(self, ours, synapse) -> Pair:
        return Pair(ours, synapse)


class FromTheirs:
    """The room is made there."""

    @pytest.fixture
    def pair(self, ours, synapse) -> Pair:
        return Pair(synapse, ours)


class TestRoomsOfOurs(FromOurs, RoomStories):
    pass


class TestRoomsOfTheirs(FromTheirs, RoomStories):
    pass


class TestPeople(FromOurs, PeopleStories):
    pass


class TestPartitionsOfOurs(FromOurs, PartitionStories):
    pass


class TestPartitionsOfTheirs(FromTheirs, PartitionStories):
    pass
