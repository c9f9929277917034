"""Clients encrypt, and everybody reads what is meant for them: on one server of ours, and across two."""

import pytest

from tests.interop.sites import Pair
from tests.interop.stories.encrypting_bots import BotStories
from tests.interop.stories.encrypting_further import FurtherEncryptionStories
from tests.interop.stories.encryption import EncryptionStories
from tests.interop.stories.killed_clients import KilledClientStories

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]


class TestOneServer(EncryptionStories, FurtherEncryptionStories, BotStories, KilledClientStories):
    """Both live on the same one."""

    @pytest.fixture
    def pair(self, ours) -> Pair:
        return Pair(ours, ours)


class TestTwoServers(EncryptionStories, FurtherEncryptionStories, BotStories, KilledClientStories):
    @pytest.fixture
    def pair(self, ours, another) -> Pair:
        return Pair(ours, another)
