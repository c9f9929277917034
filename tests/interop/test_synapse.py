"""Homing and Synapse share rooms: every story with the room on the one side, and on the other."""

import pytest

from tests.interop.sites import Pair
from tests.interop.stories.partitions import PartitionStories
from tests.interop.stories.people import PeopleStories
from tests.interop.stories.rooms import RoomStories

pytestmark = [pytest.mark.synapse, pytest.mark.timeout(180)]


@pytest.fixture
def from_ours(ours, synapse) -> Pair:
    return Pair(ours, synapse)


@pytest.fixture
def from_theirs(ours, synapse) -> Pair:
    return Pair(synapse, ours)


class TestRoomsOfOurs(RoomStories):
    pair = from_ours


class TestRoomsOfTheirs(RoomStories):
    pair = from_theirs


class TestPeopleOfBoth(PeopleStories):
    pair = from_ours


class TestPartitionsOfOurs(PartitionStories):
    pair = from_ours


class TestPartitionsOfTheirs(PartitionStories):
    pair = from_theirs
