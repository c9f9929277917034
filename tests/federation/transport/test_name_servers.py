"""The real resolver against a name server on loopback."""

import asyncio
import contextlib

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
import uvloop

from federation.protocol.srv import ServiceRecord
from federation.transport import name_servers
from federation.transport.name_servers import LookupFailed, SystemNameServers, read_hosts

ZONE = {
    ("there.test.", "A"): ["192.0.2.1", "192.0.2.2"],
    ("there.test.", "AAAA"): ["2001:db8::1"],
    ("four.test.", "A"): ["192.0.2.3"],
    ("_matrix-fed._tcp.there.test.", "SRV"): ["10 5 443 host.there.test."],
}
BROKEN, MUTE = "broken.test.", "mute.test."


class NameServer(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        query = dns.message.from_wire(data)
        name, kind = query.question[0].name.to_text(), dns.rdatatype.to_text(query.question[0].rdtype)
        answer = dns.message.make_response(query)
        if name == MUTE or (name, kind) == ("four.test.", "AAAA"):
            return
        if name == BROKEN:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif (name, kind) in ZONE:
            answer.answer.append(dns.rrset.from_text_list(name, 77, "IN", kind, ZONE[name, kind]))
        elif name != "there.test.":
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self.transport.sendto(answer.to_wire(), address)


@contextlib.asynccontextmanager
async def resolving(hosts=()):
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    try:
        port = transport.get_extra_info("sockname")[1]
        yield SystemNameServers([("127.0.0.1", port)], dict(hosts))
    finally:
        transport.close()


@pytest.fixture(autouse=True)
def _hasty(monkeypatch):
    monkeypatch.setattr(name_servers, "LIFETIME", 0.3)


@pytest.fixture
async def resolver():
    async with resolving({"here.test": ["10.0.0.1"]}) as resolver:
        yield resolver


async def test_addresses(resolver):
    answer = await resolver.addresses("There.test.")
    assert (set(answer.found), answer.ttl) == ({"2001:db8::1", "192.0.2.1", "192.0.2.2"}, 77)


async def test_services(resolver):
    answer = await resolver.services("_matrix-fed._tcp.there.test")
    assert list(answer.records) == [ServiceRecord(10, 5, 443, "host.there.test.")]
    assert answer.ttl == 77


async def test_none_is_an_answer(resolver):
    assert not (await resolver.services("_matrix._tcp.there.test")).records
    assert not (await resolver.addresses("unknown.test")).found


@pytest.mark.parametrize("name", ["broken.test", "mute.test", "x" * 64 + ".test", "a..test"])
async def test_no_answer_is_none(resolver, name):
    with pytest.raises(LookupFailed):
        await resolver.services(name)
    with pytest.raises(LookupFailed):
        await resolver.addresses(name)


async def test_one_family_is_enough(resolver):
    """AAAA is not answered, A is."""
    assert (await resolver.addresses("four.test")).found == ["192.0.2.3"]


async def test_names_of_this_machine(resolver):
    assert (await resolver.addresses("localhost")).found == ("127.0.0.1", "::1")
    assert (await resolver.addresses("HERE.test")).found == ["10.0.0.1"]


def test_file_of_hosts(tmp_path):
    path = tmp_path / "hosts"
    path.write_text("# names\n127.0.0.1 localhost Me.test # us\n::1 localhost\n\nlonely\n")
    assert read_hosts(path) == {"localhost": ["127.0.0.1", "::1"], "me.test": ["127.0.0.1"]}
    assert read_hosts(tmp_path / "missing") == {}


def test_on_uvloop():
    async def look():
        async with resolving() as resolver:
            return await resolver.addresses("there.test")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert len(runner.run(look()).found) == 3
