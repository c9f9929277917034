"""Server name resolution: every road of the specification, walked step by step [ss "Resolving server names"]."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.protocol.discovery import (
    MAX_TARGETS,
    AskAddresses,
    AskService,
    AskWellKnown,
    Identity,
    Route,
    Target,
    Unreachable,
    begin,
    split,
)
from federation.protocol.srv import ServiceRecord, in_order

A, B = "192.0.2.1", "2001:db8::1"


def record(target, port=443, priority=0, weight=0):
    return ServiceRecord(priority, weight, port, target)


def walk(server_name, well_known=None, services=(), addresses=()):
    """Resolve a name in a world of these facts; gives the end and the questions that led to it."""
    services, addresses, asked = dict(services), dict(addresses), []
    step = begin(server_name)
    while not isinstance(step, (Route, Unreachable)):
        if isinstance(step, AskWellKnown):
            asked.append(f"well-known {step.hostname}")
            step = step.answered(well_known)
        elif isinstance(step, AskService):
            asked.append(step.name)
            step = step.answered(services.get(step.name, ()), lambda most: 0)
        else:
            asked.append("addresses " + " ".join(target.host for target in step.targets))
            step = step.answered(addresses)
    return step, asked


def route(host_header, tls_name, *targets):
    return Route(tuple(Target(*target) for target in targets), Identity(host_header, tls_name))


WELL_KNOWN = "well-known example.org"
FED, OLD = "_matrix-fed._tcp", "_matrix._tcp"
HERE = {"example.org": [A, B]}
THERE = {"m.example.net": [A], "x.example.com": [B]}

ROADS = [
    # 1: an IP literal, with and without a port
    ("1", "192.0.2.7", {}, route("192.0.2.7", "192.0.2.7", ("192.0.2.7", 8448)), []),
    ("1", "192.0.2.7:99", {}, route("192.0.2.7:99", "192.0.2.7", ("192.0.2.7", 99)), []),
    ("1", "[2001:db8::7]", {}, route("[2001:db8::7]", "2001:db8::7", ("2001:db8::7", 8448)), []),
    ("1", "[2001:db8::7]:99", {}, route("[2001:db8::7]:99", "2001:db8::7", ("2001:db8::7", 99)), []),
    # 2: a port: no well-known, no SRV
    (
        "2",
        "example.org:99",
        {"well_known": "m.example.net", "addresses": HERE},
        route("example.org:99", "example.org", (A, 99), (B, 99)),
        ["addresses example.org"],
    ),
    # 3.1: delegated to an IP literal
    ("3.1", "example.org", {"well_known": A}, route(A, A, (A, 8448)), [WELL_KNOWN]),
    ("3.1", "example.org", {"well_known": f"[{B}]:99"}, route(f"[{B}]:99", B, (B, 99)), [WELL_KNOWN]),
    # 3.2: delegated to a name with a port
    (
        "3.2",
        "example.org",
        {"well_known": "m.example.net:443", "addresses": THERE},
        route("m.example.net:443", "m.example.net", (A, 443)),
        [WELL_KNOWN, "addresses m.example.net"],
    ),
    # 3.3: delegated to a name with a service; the certificate is that of the name, not of the service's target
    (
        "3.3",
        "example.org",
        {
            "well_known": "m.example.net",
            "services": {f"{FED}.m.example.net": [record("x.example.com.")]},
            "addresses": THERE,
        },
        route("m.example.net", "m.example.net", (B, 443)),
        [WELL_KNOWN, f"{FED}.m.example.net", "addresses x.example.com"],
    ),
    # 3.4: the deprecated service
    (
        "3.4",
        "example.org",
        {
            "well_known": "m.example.net",
            "services": {f"{OLD}.m.example.net": [record("x.example.com", 4)]},
            "addresses": THERE,
        },
        route("m.example.net", "m.example.net", (B, 4)),
        [WELL_KNOWN, f"{FED}.m.example.net", f"{OLD}.m.example.net", "addresses x.example.com"],
    ),
    # 3.5: no service
    (
        "3.5",
        "example.org",
        {"well_known": "m.example.net", "addresses": THERE},
        route("m.example.net", "m.example.net", (A, 8448)),
        [WELL_KNOWN, f"{FED}.m.example.net", f"{OLD}.m.example.net", "addresses m.example.net"],
    ),
    # 4: no delegation, but a service
    (
        "4",
        "example.org",
        {
            "services": {f"{FED}.example.org": [record("x.example.com"), record("m.example.net", 1, 9)]},
            "addresses": THERE,
        },
        route("example.org", "example.org", (B, 443), (A, 1)),
        [WELL_KNOWN, f"{FED}.example.org", "addresses x.example.com m.example.net"],
    ),
    # 5: the deprecated service
    (
        "5",
        "example.org",
        {"services": {f"{OLD}.example.org": [record("x.example.com")]}, "addresses": THERE},
        route("example.org", "example.org", (B, 443)),
        [WELL_KNOWN, f"{FED}.example.org", f"{OLD}.example.org", "addresses x.example.com"],
    ),
    # 6: neither
    (
        "6",
        "example.org",
        {"addresses": HERE},
        route("example.org", "example.org", (A, 8448), (B, 8448)),
        [WELL_KNOWN, f"{FED}.example.org", f"{OLD}.example.org", "addresses example.org"],
    ),
    # 3: a delegation that names no server is an invalid response: step 4
    (
        "3",
        "example.org",
        {"well_known": "m.example.net:99999", "addresses": HERE},
        route("example.org", "example.org", (A, 8448), (B, 8448)),
        [WELL_KNOWN, f"{FED}.example.org", f"{OLD}.example.org", "addresses example.org"],
    ),
]


@pytest.mark.parametrize(("rule", "name", "world", "end", "asked"), ROADS)
def test_roads(rule, name, world, end, asked):
    assert walk(name, **world) == (end, asked), rule


@pytest.mark.parametrize(
    ("name", "world"),
    [
        ("", {}),
        ("a/b", {}),
        ("example.org:0", {}),
        ("example.org:65536", {}),
        ("999.1.1.1", {}),
        ("[192.0.2.1]", {}),
        ("[::1", {}),
        ("a..b", {}),
        (f"{'a' * 64}.example.org", {}),
        ("example.org", {}),  # no address
        # "the service is decidedly not available at this domain" [RFC 2782 "Target"]
        ("example.org", {"services": {f"{FED}.example.org": [record(".")]}, "addresses": HERE}),
        (
            "example.org",
            {"services": {f"{FED}.example.org": [record("x.example.com", 0)]}, "addresses": THERE},
        ),
    ],
)
def test_unreachable(name, world):
    assert isinstance(walk(name, **world)[0], Unreachable)


@pytest.mark.parametrize(("name", "sends"), [("example.org", True), (A, False), (B, False)])
def test_no_sni_for_addresses(name, sends):
    assert Identity(name, name).sends_sni is sends  # [ss "TLS"]


def test_work_is_bounded():
    records = [record(f"t{number}.example.org", priority=1000 - number) for number in range(1000)]
    step = AskService("example.org").answered(records, lambda most: 0)
    assert isinstance(step, AskAddresses)
    assert len(step.targets) == MAX_TARGETS
    assert step.targets[0].host == "t999.example.org"  # the best are kept
    end = step.answered({target.host: [A] * 100 for target in step.targets})
    assert isinstance(end, Route)
    assert len(end.targets) == MAX_TARGETS


@given(st.text() | st.from_regex(r"[\[\]0-9a-f.:]{1,20}", fullmatch=True), st.none() | st.text())
def test_any_name_has_an_end(name, well_known):
    assert isinstance(walk(name, well_known)[0], (Route, Unreachable))


@given(st.from_regex(r"\A[a-z]{1,9}(\.[a-z]{1,9}){0,3}\Z"), st.none() | st.integers(1, 65535))
def test_names_are_split(host, port):
    assert split(host if port is None else f"{host}:{port}") == (host, port)


# [RFC 2782 "Priority", "Weight"]


def test_lower_priorities_come_first():
    records = [record("c", priority=9), record("a", priority=1, weight=1), record("b", priority=5, weight=99)]
    assert [one.target for one in in_order(records, lambda most: most)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("drawn", "first"), [(0, "none"), (1, "light"), (10, "light"), (11, "heavy"), (100, "heavy")]
)
def test_weights_are_chances(drawn, first):
    records = [record("heavy", weight=90), record("none", weight=0), record("light", weight=10)]
    assert in_order(records, lambda most: min(drawn, most))[0].target == first


@given(
    st.lists(
        st.builds(record, st.text(), priority=st.integers(0, 3), weight=st.integers(0, 65535)), max_size=8
    ),
    st.data(),
)
def test_every_target_is_tried_once(records, data):
    ordered = in_order(records, lambda most: data.draw(st.integers(0, most)))
    assert sorted(ordered, key=repr) == sorted(records, key=repr)
    assert [one.priority for one in ordered] == sorted(one.priority for one in records)
