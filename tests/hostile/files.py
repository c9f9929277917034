"""Files to upload: images, nearly."""

from hypothesis import strategies as st

from tests.services.media.images import image

_WHOLE = [image(kind, (40, 30)) for kind in ("PNG", "JPEG", "GIF", "WEBP")]
_HEADS = [
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\xff\xff\xff\xff\xff\xff\xff\xff\x08\x06\x00\x00\x00",
    b"GIF89a\xff\xff\xff\xff\xf7\x00\x00",
    b"RIFF\xff\xff\xff\xffWEBPVP8X\n\x00\x00\x00\x02\x00\x00\x00\xff\xff\xff\xff\xff\xff",
    b"\x00\x00\x00\x1cftypavif",
    b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    b"",
]


@st.composite
def _broken(draw: st.DrawFn) -> bytes:
    """One of the images with bytes changed, left out, or its end missing."""
    file = bytearray(draw(st.sampled_from(_WHOLE)))
    for _ in range(draw(st.integers(0, 4))):
        file[draw(st.integers(0, len(file) - 1))] = draw(st.integers(0, 255))
    start = draw(st.integers(0, len(file)))
    del file[start : start + draw(st.sampled_from([0, 0, 1, 7, len(file)]))]
    return bytes(file)


nearly_images: st.SearchStrategy[bytes] = st.one_of(
    st.sampled_from(_WHOLE), _broken(), st.sampled_from(_HEADS), st.binary(max_size=200)
)
