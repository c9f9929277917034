"""Messages for web push services: the RFC's own example, and what no app's keys are [RFC 8291]."""

from base64 import urlsafe_b64decode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from homeserver.services.pushing.web_push_message import (
    MAX_MESSAGE,
    Ephemeral,
    encrypted,
    subscription,
    text_of,
)
from tests.kit.push_service import WebApp

# [RFC 8291 5]
PUBLIC = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
SECRET = "BTBZMqHH6r4Tts7J_aSIgg"
OURS = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
SALT = "DGv6ra1nlYgDCS1FRnbzlw"
BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBr"
    "u3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)


def test_the_example_of_the_rfc() -> None:
    number = int.from_bytes(urlsafe_b64decode(OURS + "="), "big")
    once = Ephemeral(ec.derive_private_key(number, ec.SECP256R1()), urlsafe_b64decode(SALT + "=="))
    message = b"When I grow up, I want to be a watermelon"
    assert text_of(encrypted(message, subscription(PUBLIC, SECRET), once)) == BODY


@pytest.mark.parametrize("length", [0, 1, 1000, MAX_MESSAGE])
def test_the_app_reads_what_was_said(length: int) -> None:
    app = WebApp()
    body = encrypted(b"x" * length, subscription(app.public_key, app.auth), Ephemeral())
    assert len(body) <= 4096
    assert app.read(body) == b"x" * length
    assert encrypted(b"", subscription(app.public_key, app.auth), Ephemeral()) != body


@pytest.mark.parametrize(
    ("public", "secret"),
    [
        ("", SECRET),
        (PUBLIC, ""),
        (PUBLIC[:-4], SECRET),
        (PUBLIC, SECRET + "AAAA"),
        ("A" * 87, SECRET),  # no point
        (PUBLIC[:-4] + "AAAA", SECRET),  # not on the curve
        ("é" * 87, SECRET),
    ],
)
def test_what_are_no_keys(public: str, secret: str) -> None:
    with pytest.raises(ValueError):
        subscription(public, secret)
