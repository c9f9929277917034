"""What clients may register and ask for [cs "OAuth 2.0 API"]."""

from base64 import urlsafe_b64encode
from hashlib import sha256

import pytest
from attrs import evolve

from homeserver.core.oauth.clients import client_metadata
from homeserver.core.oauth.errors import OAuthError
from homeserver.core.oauth.requests import authorization_request, granted_scope, verifies, way_back

SAID = {
    "client_name": "My App",
    "client_name#fr": "Mon application",
    "client_uri": "https://example.com/",
    "logo_uri": "https://example.com/logo.png",
    "tos_uri": "https://legal.example.com:8443/tos.html?v=1",
    "redirect_uris": ["https://app.example.com/callback"],
    "token_endpoint_auth_method": "none",
    "response_types": ["code"],
    "grant_types": [
        "authorization_code",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:token-exchange",
    ],
    "application_type": "web",
    "software_id": "unknown to us",
}


def test_what_is_understood_is_registered():
    assert client_metadata(SAID).as_json() == {
        "client_name": "My App",
        "client_uri": "https://example.com/",
        "logo_uri": "https://example.com/logo.png",
        "tos_uri": "https://legal.example.com:8443/tos.html?v=1",
        "redirect_uris": ["https://app.example.com/callback"],
        "token_endpoint_auth_method": "none",
        "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token"],
        "application_type": "web",
    }


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"client_uri": "http://example.com/"}, "invalid_client_metadata"),
        ({"client_uri": None}, "invalid_client_metadata"),
        ({"client_uri": ""}, "invalid_client_metadata"),
        ({"client_uri": "https://user@example.com/"}, "invalid_client_metadata"),
        ({"client_uri": "https:///x"}, "invalid_client_metadata"),
        ({"client_uri": "https://[::1/"}, "invalid_client_metadata"),
        ({"client_uri": "https://example.com:x/"}, "invalid_client_metadata"),
        ({"logo_uri": "https://example.org/logo.png"}, "invalid_client_metadata"),
        ({"logo_uri": "javascript:alert(1)"}, "invalid_client_metadata"),
        ({"policy_uri": "http://example.com/"}, "invalid_client_metadata"),
        ({"client_name": 7}, "invalid_client_metadata"),
        ({"application_type": "desktop"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "client_secret_basic"}, "invalid_client_metadata"),
        ({"grant_types": "authorization_code"}, "invalid_client_metadata"),
        ({"redirect_uris": [7]}, "invalid_client_metadata"),
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://example.com/"] * 21}, "invalid_redirect_uri"),
    ],
)
def test_what_cannot_be_registered(change, code):
    with pytest.raises(OAuthError) as refused:
        client_metadata({**SAID, **change})
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("kind", "uri", "good"),
    [
        ("web", "https://example.com/callback", True),
        ("web", "https://app.example.com/callback", True),
        ("web", "https://example.com:5173/?query=value", True),
        ("web", "https://example.com/callback#fragment", False),
        ("web", "https://example.com/callback#", False),
        ("web", "http://example.com/callback", False),
        ("web", "http://localhost/", False),
        ("web", "https://evilexample.com/", False),
        ("web", "https://example.com.evil.org/", False),
        ("web", "https://user@example.com/", False),
        ("web", "https://example.com\\@evil.org/", False),
        ("web", "https://evil.org\n.example.com/", False),
        ("web", "com.example:/", False),
        ("native", "com.example.app:/callback", True),
        ("native", "com.example:/", True),
        ("native", "com.example:callback", True),
        ("native", "http://localhost/callback", True),
        ("native", "http://127.0.0.1/callback", True),
        ("native", "http://[::1]/callback", True),
        ("native", "https://app.example.com/callback", True),
        ("native", "example:/callback", False),
        ("native", "com.example.app://callback", False),
        ("native", "com.example.app:///callback", False),
        ("native", "com.examples:/callback", False),
        ("native", "https://localhost/callback", False),
        ("native", "http://localhost:1234/callback", False),
        ("native", "http://[::1]:80/callback", False),
        ("native", "http://user@localhost/callback", False),
        ("native", "http://192.168.1.1/callback", False),
        ("native", "javascript:alert(1)", False),
    ],
)
def test_where_clients_may_be_sent_back_to(kind, uri, good):
    said = {**SAID, "application_type": kind, "redirect_uris": [uri]}
    if good:
        assert client_metadata(said).accepts(uri)
    else:
        with pytest.raises(OAuthError) as refused:
            client_metadata(said)
        assert refused.value.code == "invalid_redirect_uri"


@pytest.mark.parametrize(
    ("registered", "asked", "good"),
    [
        ("http://localhost/callback", "http://localhost:4711/callback", True),
        ("http://[::1]/callback", "http://[::1]:4711/callback", True),
        ("http://127.0.0.1/callback", "http://localhost:4711/callback", False),
        ("http://localhost/callback", "http://localhost:4711/callback/", False),
        ("http://localhost/callback", "http://localhost:4711@evil.org/callback", False),
        ("https://example.com/callback", "https://example.com:8443/callback", False),
        ("https://example.com/callback", "https://example.com/callback?x=y", False),
        ("https://example.com/callback", "", False),
    ],
)
def test_only_what_was_registered_is_gone_back_to(registered, asked, good):
    client = client_metadata({**SAID, "application_type": "native", "redirect_uris": [registered]})
    assert client.accepts(asked) == good


ASKED = {
    "response_type": "code",
    "redirect_uri": "https://app.example.com/callback",
    "scope": "urn:matrix:client:api:* urn:matrix:client:device:AAABBBCCCDDD",
    "state": "ewubooN9weez",
    "response_mode": "fragment",
    "code_challenge": "72xySjpngTcCxgbPfFmkPHjMvVDl2jW1aWP7-J6rmwU",
    "code_challenge_method": "S256",
}


def test_a_request():
    request = authorization_request(ASKED, client_metadata(SAID))
    assert (request.device_id, request.create) == ("AAABBBCCCDDD", False)
    assert request.scope == ASKED["scope"]
    said = request.answer({"code": "a b"})
    assert said == "https://app.example.com/callback#state=ewubooN9weez&code=a+b"
    by_query = evolve(request, mode="query", redirect_uri="https://app.example.com/callback?x=y", state=None)
    assert by_query.answer({"code": "c"}) == "https://app.example.com/callback?x=y&code=c"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_mode": "form_post"}, "invalid_request"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"state": "x" * 5000}, "invalid_request"),
        ({"scope": "openid"}, "invalid_scope"),
        ({"scope": "urn:matrix:client:api:*"}, "invalid_scope"),
        ({"scope": "urn:matrix:client:device:AAABBBCCCDDD"}, "invalid_scope"),
        ({"scope": ASKED["scope"] + " urn:matrix:client:device:ANOTHERONE"}, "invalid_scope"),
        ({"scope": "urn:matrix:client:api:* urn:matrix:client:device:a"}, "invalid_scope"),
        ({"scope": "urn:matrix:client:api:* urn:matrix:client:device:ABC/DEF%00"}, "invalid_scope"),
    ],
)
def test_requests_that_are_refused(change, code):
    client = client_metadata(SAID)
    asked = {**ASKED, **change}
    with pytest.raises(OAuthError) as refused:
        authorization_request(asked, client)
    assert refused.value.code == code
    assert f"error={code}" in way_back(asked, client).refusal(refused.value)


def test_nobody_is_sent_to_an_unknown_address():
    with pytest.raises(OAuthError):
        way_back({**ASKED, "redirect_uri": "https://evil.org/"}, client_metadata(SAID))


def test_scopes_of_before_are_understood():
    asked = "openid urn:matrix:org.matrix.msc2967.client:api:* urn:matrix:org.matrix.msc2967.client:device:ABCDEFG"
    assert granted_scope(asked) == (asked.removeprefix("openid "), "ABCDEFG")


def test_proof_of_the_key():
    verifier = "ogie4iVaeteeKeeLaid0aizuimairaCh-" * 2
    challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
    assert verifies(verifier, challenge)
    assert not verifies(verifier[:-1], challenge)
    assert not verifies("short", challenge)
    assert not verifies(verifier + "ü", challenge)
