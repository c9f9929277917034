"""What registrations may say, and who may then make what."""

import pytest

from homeserver.core.application_service_files import RegistrationFaults, clashes, registration
from homeserver.core.application_services import ApplicationServices, Proxied
from homeserver.core.errors import MatrixError

GOOD = {
    "id": "irc",
    "url": "http://127.0.0.1:9999/",
    "as_token": "theirs",
    "hs_token": "ours",
    "sender_localpart": "_irc_bot",
    "namespaces": {
        "users": [{"exclusive": True, "regex": "@_irc_.*"}],
        "aliases": [{"exclusive": False, "regex": "#_irc_.*:example\\.org$"}],
        "rooms": [{"exclusive": False, "regex": "!irc:"}],
    },
}


def service(**changes):
    return registration({**GOOD, **changes}, "example.org")


def test_a_registration_is_read():
    one = service(rate_limited=False, receive_ephemeral=True, protocols=["irc"])
    assert (one.id, one.url, one.sender) == ("irc", "http://127.0.0.1:9999", "@_irc_bot:example.org")
    assert (one.wants.rate_limited, one.wants.ephemeral, one.wants.encryption) == (False, True, False)
    assert one.wants.protocols == ("irc",)
    assert one.wants.proxied == frozenset()
    assert service(**{"org.matrix.msc3984": True}).wants.proxied == {Proxied.QUERIES}
    assert "theirs" not in repr(one), "tokens do not get into logs"


def test_defaults():
    one = service(namespaces={})
    assert (one.wants.rate_limited, one.wants.ephemeral) == (True, False)
    assert service(url=None).url == ""


@pytest.mark.parametrize(
    ("user_id", "has", "claims"),
    [
        ("@_irc_a:example.org", True, True),
        ("@_irc_a:elsewhere.org", False, False),  # only of this server [as "Registration"]
        ("@_irc_bot:example.org", True, True),
        ("@alice:example.org", False, False),
        ("x@_irc_a:example.org", False, False),
    ],
)
def test_users(user_id, has, claims):
    one = service()
    assert (one.has_user(user_id), one.claims_user(user_id)) == (has, claims)


def test_the_sender_is_its_own_outside_of_any_namespace():
    one = service(namespaces={})
    assert one.has_user("@_irc_bot:example.org")
    assert one.claims_user("@_irc_bot:example.org")


def test_aliases_and_rooms():
    one = service()
    assert one.has_alias("#_irc_x:example.org")
    assert not one.has_alias("#_irc_x:example.org.evil")
    assert not one.claims_alias("#_irc_x:example.org")
    assert one.has_room("!irc:example.org")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"id": None}, "id: must be a string"),
        ({"id": 5}, "id: must be a string"),
        ({"as_token": "with space"}, "as_token: must be of printable ASCII"),
        ({"url": "unix:/x"}, "url: must be an http or https URL"),
        ({"sender_localpart": "Bot!"}, "sender_localpart: 'Bot!' is no name"),
        ({"namespaces": None}, "namespaces: must be there"),
        ({"namespaces": {"user": []}}, "namespaces.user: there are users, aliases, rooms only"),
        ({"namespaces": {"users": {}}}, "namespaces.users: must be a list"),
        ({"namespaces": {"users": [{"exclusive": True}]}}, "namespaces.users[0]: must have a regex"),
        ({"namespaces": {"users": [{"regex": "a"}]}}, "users[0]: exclusive must be true or false"),
        ({"namespaces": {"users": [{"exclusive": True, "regex": "(?=a)b"}]}}, "is no RE2 expression"),
        ({"namespaces": {"users": [{"exclusive": True, "regex": "(a"}]}}, "missing )"),
        ({"protocols": "irc"}, "protocols: must be a list"),
        ({"rate_limited": "no"}, "rate_limited: must be true or false"),
    ],
)
def test_faults_are_told_with_their_place(changes, fault):
    with pytest.raises(RegistrationFaults) as caught:
        service(**changes)
    assert any(fault in one for one in caught.value.faults), caught.value.faults


def test_all_faults_at_once():
    with pytest.raises(RegistrationFaults) as caught:
        registration({}, "example.org")
    named = {fault.partition(":")[0] for fault in caught.value.faults}
    assert named == {"id", "url", "as_token", "hs_token", "sender_localpart", "namespaces"}
    with pytest.raises(RegistrationFaults):
        registration(["id"], "example.org")


def test_files_must_not_share_what_tells_them_apart():
    twice = [("a.yaml", service()), ("b.yaml", service(sender_localpart="other"))]
    found = clashes(twice)
    assert found == ["b.yaml: id 'irc' is that of a.yaml too", "b.yaml: as_token is that of a.yaml too"]


def test_whose_token():
    services = ApplicationServices([service()])
    assert services.by_token("theirs").id == "irc"
    assert services.of_token("ours") is None
    for token, errcode in ((None, "M_MISSING_TOKEN"), ("ours", "M_UNKNOWN_TOKEN")):
        with pytest.raises(MatrixError) as caught:
            services.by_token(token)
        assert (caught.value.status, caught.value.errcode) == (401, errcode)


def test_exclusive_namespaces():
    other = service(
        id="xmpp",
        as_token="t",
        sender_localpart="xmpp",
        namespaces={"users": [{"exclusive": False, "regex": "@.*"}]},
    )
    services = ApplicationServices([service(), other])
    services.check_user("@_irc_a:example.org", "irc")
    services.check_user("@alice:example.org", "xmpp")
    services.check_user("@alice:example.org")
    for user_id, by in (
        ("@_irc_a:example.org", None),
        ("@_irc_a:example.org", "xmpp"),
        ("@alice:example.org", "irc"),
        ("@xmpp:example.org", None),
    ):
        with pytest.raises(MatrixError) as caught:
            services.check_user(user_id, by)
        assert caught.value.errcode == "M_EXCLUSIVE"
    services.check_alias("#_irc_x:example.org")
    with pytest.raises(MatrixError):
        services.check_alias("#x:example.org", "irc")


@pytest.mark.parametrize(
    "regex",
    [
        "@_irc_.*",
        "@_irc_",
        "(?i)@_IRC_",
        "@x|@_i",
        "^@_irc_$",
        "^@_irc_[a-z]+:example\\.org$",
        "@(_irc_|x).*",
        ".*",
        "@_irc_ü.*",
    ],
)
def test_spans_hold_all_that_matches(regex):
    """The database looks between two texts only; by bytes, as it compares."""
    namespace = service(namespaces={"users": [{"exclusive": True, "regex": regex}]}).namespaces.users[0]
    low, high = (text.encode() for text in namespace.span())
    for text in ("@_irc_", "@_irc_abc:example.org", "@_irc_üx", "@_irc_\U0010ffff", "@x", "@alice", "@_irc"):
        if namespace.matches(text):
            assert low <= text.encode() <= high
