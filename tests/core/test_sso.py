"""Where browsers may be sent with a login token, and what people are called."""

import pytest

from homeserver.core.sso import is_among, is_client_url, localpart_of, shown_place, with_login_token

KNOWN = ["https://app.example.org/", "https://x.example/chat", "org.example.app://login"]


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("https://app.example.org/", True),
        ("https://app.example.org", True),
        ("https://APP.example.org/#/login?x=y", True),
        ("http://app.example.org/", False),
        ("https://app.example.org:444/", False),
        ("https://app.example.org.evil.example/", False),
        ("https://x.example/chat", True),
        ("https://x.example/chat/deep?a", True),
        ("https://x.example/chatter", False),
        ("https://x.example/chat/../admin", False),
        ("https://x.example/", False),
        ("org.example.app://login", True),
        ("org.example.app2://login", False),
    ],
)
def test_known_clients(url: str, known: bool) -> None:
    assert is_client_url(url)
    assert is_among(url, KNOWN) == known


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "https:///x",
        "https://a\\@b/",
        "https://é/",
        "a" * 3000,
        "https://[::1",
        "\tjavascript:x",
        "view-source:https://x",
    ],
)
def test_no_clients(url: str) -> None:
    assert not is_client_url(url)


def test_the_token_goes_into_the_query() -> None:
    assert with_login_token("https://a/?p=http%3A%2F%2Fb&loginToken=old#frag", "t") == (
        "https://a/?p=http%3A%2F%2Fb&loginToken=t#frag"
    )
    assert with_login_token("app://x", "t") == "app://x?loginToken=t"
    assert (shown_place("https://a:1/b"), shown_place("app:/x")) == ("a:1", "app:")


@pytest.mark.parametrize(
    ("name", "localpart"), [("Alice", "alice"), ("a=b", "a=3db"), ("é", "=c3=a9"), ("a.b_c-d/e", "a.b_c-d/e")]
)
def test_names(name: str, localpart: str) -> None:
    assert localpart_of(name) == localpart
