"""Which part of a file a Range header means [RFC 9110 14]."""

import pytest

from homeserver.web.files import Unsatisfiable, wanted_part


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("", None),
        ("bytes=0-0", (0, 1)),
        ("bytes=0-99", (0, 100)),
        ("bytes=0-", (0, 100)),
        ("bytes=50-", (50, 100)),
        ("bytes=50-1000", (50, 100)),
        ("bytes=-1", (99, 100)),
        ("bytes=-1000", (0, 100)),
        (" bytes=3-4 ", (3, 5)),
        # What cannot be read is ignored; so may be several ranges.
        ("bytes=-", None),
        ("bytes=5-4", None),
        ("bytes=0-1,3-4", None),
        ("bytes=a-b", None),
        ("bytes=٣-٤", None),
        ("bytes=0-99999999999999999999", None),
        ("lines=0-1", None),
        ("bytes 0-1", None),
    ],
)
def test_parts(header, part):
    assert wanted_part(header, 100) == part


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=100-", 100), ("bytes=-0", 100), ("bytes=0-", 0), ("bytes=-5", 0)]
)
def test_parts_behind_the_end(header, size):
    with pytest.raises(Unsatisfiable):
        wanted_part(header, size)
