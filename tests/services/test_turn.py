"""Credentials for TURN relays."""

from homeserver.services.turn import Turn


def test_credentials() -> None:
    turn = Turn(["turn:turn.example.org"], "north", 3_600, clock=lambda: 1_433_892_052_000)
    assert turn.credentials("@alice:example.org") == {
        "username": "1433895652:@alice:example.org",
        "password": "sSLoXmfJyb50/GeryWoNAMxugdE=",
        "uris": ["turn:turn.example.org"],
        "ttl": 3_600,
    }
