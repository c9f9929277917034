"""The comparison of answers with the specification's schemas sees what is wrong, and its excuses are of use."""

import pytest

from tests.kit.answers import excuses, mismatches

WHOAMI = "/_matrix/client/v3/account/whoami"


@pytest.mark.parametrize(
    ("method", "target", "status", "content", "wrong"),
    [
        ("GET", WHOAMI, 200, b'{"user_id": "@a:b"}', False),
        ("GET", WHOAMI + "?x=y", 200, b'{"user_id": "@a:b", "device_id": "D", "is_guest": false}', False),
        ("GET", WHOAMI, 200, b'{"device_id": "D"}', True),
        ("GET", WHOAMI, 200, b'{"user_id": 7}', True),
        ("GET", WHOAMI, 200, b"", True),
        ("GET", WHOAMI.replace("v3", "r0"), 200, b"{}", True),  # r0 is v3 by its old name
        ("GET", WHOAMI, 401, b'{"error": "without a code"}', True),
        ("GET", WHOAMI, 418, b"{}", False),  # nothing is said of this status
        ("PATCH", WHOAMI, 200, b"{}", False),  # nor of this method
        (
            "GET",
            "/_matrix/client/v3/rooms/%21x/members",
            200,
            b'{"chunk": [{"type": "m.room.member"}]}',
            True,
        ),
        ("GET", "/_matrix/client/v3/rooms/%21x/members/", 200, b'{"chunk": []}', False),
        ("GET", "/_matrix/client/v3/pushrules/", 200, b'{"global": {}}', False),
    ],
)
def test_mismatches(method, target, status, content, wrong):
    assert bool(mismatches(method, target, status, content)) == wrong


def test_every_excuse_has_a_reason():
    assert all(one.reason and one.place for one in excuses())
