"""Clients encrypt, and everybody reads what is meant for them: across Homing and Synapse."""

import pytest

from tests.interop.stories.encrypting_bots import BotStories
from tests.interop.stories.encryption import EncryptionStories
from tests.interop.test_synapse import FromOurs, FromTheirs

pytestmark = [pytest.mark.synapse, pytest.mark.timeout(240)]


class TestFromOurs(FromOurs, EncryptionStories, BotStories):
    pass


class TestFromTheirs(FromTheirs, EncryptionStories, BotStories):
    pass
