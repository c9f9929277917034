"""Which addresses may be connected to."""

import pytest

from homeserver.core.networks import Networks

PUBLIC = ["8.8.8.8", "2001:4860::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
PRIVATE = """
    127.0.0.1 10.1.1.1 172.16.0.1 192.168.0.1 169.254.169.254 0.0.0.0 224.0.0.1 255.255.255.255 100.64.0.1
    192.0.2.1 198.18.0.1 240.0.0.1 ::1 :: fe80::1 fe80::1%eth0 fd00::1 ff02::1 2001:db8::1 ::127.0.0.1
    ::ffff:10.0.0.1 64:ff9b::a00:1 2002:a00:1::1 2001:0:a00:1:: nonsense 1.2.3 0x7f000001
""".split()


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address):
    assert Networks().admit(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_not_public(address):
    assert not Networks().admit(address)


@pytest.mark.parametrize("address", ["10.1.1.1", "::ffff:10.1.1.1", "fd00::1", "8.8.8.8"])
def test_allowed(address):
    assert Networks(["10.0.0.0/8", "fd00::/8"]).admit(address)


def test_others_stay_refused():
    assert not Networks(["10.0.0.0/8", "fd00::/8"]).admit("127.0.0.1")
